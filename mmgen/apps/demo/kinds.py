"""The demos that there are."""

from mmgen.apps.demo.demo import Demo
from mmgen.apps.demo.image.demo import ImageDemo
from mmgen.apps.demo.motion.demo import MotionDemo
from mmgen.apps.demo.speech.demo import SpeechDemo
from mmgen.apps.demo.video.demo import VideoDemo

KINDS: dict[str, type[Demo]] = {"image": ImageDemo, "video": VideoDemo, "speech": SpeechDemo, "motion": MotionDemo}
