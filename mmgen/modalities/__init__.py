"""A folder for each kind of data, and the table of them. A modality imports the engine and never another modality."""

from mmgen.core.modality import register_package

for _name in ("image", "video", "speech", "motion"):
    register_package(_name, f"{__name__}.{_name}")
