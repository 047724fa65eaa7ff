"""The members of a joint run: RUN/MEMBER, which is no folder, stands for one modality of it as if trained alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgen.core.errors import UserError, nearest
from mmgen.core.yaml_text import read_yaml

_CONFIG = "config.yaml"


@dataclass(frozen=True, eq=False)
class MemberOf:
    """Where a member is, and what it is.

    Args:
        run: folder of the joint run.
        name: of the member.
        config: as that of a run of this member alone: its own data, and the shared backbone in its model.
    """

    run: Path
    name: str
    config: dict[str, Any]

    @property
    def prefix(self) -> str:
        """How the names of its generator's weights begin in the run's checkpoint."""
        return f"members.{self.name}.generator."


def find_member(path: Path) -> MemberOf | None:
    """The member that a path names; None where it is a folder of its own, or nothing."""
    if (path / _CONFIG).exists():
        return None
    config = _parent_config(path)
    known = path.name in members_of(config)
    return MemberOf(path.parent, path.name, member_config(config, path.name)) if known else None


def require_known(path: Path) -> None:
    """Raises UserError for RUN/MEMBER where RUN is a joint run that has no such member."""
    if names := members_of(_parent_config(path)):
        known = ", ".join(f"{path.parent / name}" for name in names)
        raise UserError(f"{path.parent} has no member {path.name!r}: name one of {known}{nearest(path.name, names)}")


def require_no_members(config: Any, path: Path) -> None:
    """Raises UserError where the config is a joint run's, of which only the members can be taken."""
    if names := members_of(config):
        known = ", ".join(f"{path / name}" for name in names)
        raise UserError(f"{path} is a run of several modalities: name one of {known}")


def members_of(config: Any) -> list[str]:
    """Names of the members that a config has; none where it is no joint run's."""
    try:
        names = config["model"]["init_args"]["members"].keys()
        return [name for name in names if name not in ("", "..") and Path(name).name == name]  # and no path
    except (KeyError, TypeError, AttributeError):
        return []


def member_paths(run: Path) -> list[Path]:
    """RUN/MEMBER for each member of a joint run; the path itself for any other."""
    return [run / name for name in members_of(_parent_config(run / "member"))] or [run]


def _parent_config(path: Path) -> Any:
    """The config in a path's folder; None where there is none, or none that can be read."""
    try:
        return read_yaml(path.parent / _CONFIG)
    except UserError:
        return None


def member_config(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The config that a run of one member would have: the shared backbone, and data of its own. What a config leaves
    out, as one of several files of a recipe may, stays out.
    """
    own = dict(config)
    if (joint := _joint(config.get("model"), "JointModule")) is not None:
        arguments = joint | ((joint.get("members") or {}).get(name) or {})
        arguments = {key: value for key, value in arguments.items() if key not in ("members", "weight")}
        own["model"] = {"class_path": "mmgen.training.GeneratorModule", "init_args": arguments}
    if (joint := _joint(config.get("data"), "JointData")) is not None:
        own["data"] = section = dict((joint.get("members") or {}).get(name) or {})
        section["init_args"] = {key: value for key, value in (section.get("init_args") or {}).items() if key != "seed"}
    return own


def _joint(section: Any, kind: str) -> dict[str, Any] | None:
    """The arguments of a section of several members; None for any other."""
    if not isinstance(section, dict):
        return None
    arguments = section.get("init_args") or {}
    named = str(section.get("class_path", "")).rpartition(".")[2]
    return arguments if named == kind or "members" in arguments else None
