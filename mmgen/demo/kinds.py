"""The demos that there are."""

from mmgen.demo.demo import Demo
from mmgen.demo.image.demo import ImageDemo
from mmgen.demo.motion.demo import MotionDemo
from mmgen.demo.speech.demo import SpeechDemo
from mmgen.demo.video.demo import VideoDemo

KINDS: dict[str, type[Demo]] = {"image": ImageDemo, "video": VideoDemo, "speech": SpeechDemo, "motion": MotionDemo}
