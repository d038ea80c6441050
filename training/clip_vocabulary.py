"""Tokenizer and processor of the toy video model: the words of toy-llava, under the same numbers, and some more."""

from transformers import CLIPImageProcessor, PreTrainedTokenizerFast, VideoLlavaProcessor, VideoLlavaVideoProcessor

from tokenbench_suites.clips import SIDE, words
from tokenbench_suites.scenes.world import CELL
from training.vocabulary import TEMPLATE, build_tokenizer

VIDEO = "<video>"
SHOWN = "{% if part['type'] == 'image' %}<image>\n"
CLIP_TEMPLATE = TEMPLATE.replace(SHOWN, SHOWN + "{% elif part['type'] == 'video' %}<video>\n")
LOOK = {
    "size": {"height": SIDE, "width": SIDE},
    "do_resize": True,
    "do_center_crop": False,
    "do_convert_rgb": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.25, 0.25],
}


def build_clip_tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer([VIDEO, *words()], ["<image>", VIDEO])


def build_clip_processor() -> VideoLlavaProcessor:
    return VideoLlavaProcessor(
        image_processor=CLIPImageProcessor(**LOOK),
        video_processor=VideoLlavaVideoProcessor(**LOOK, do_sample_frames=False),
        tokenizer=build_clip_tokenizer(),
        patch_size=CELL,
        vision_feature_select_strategy="default",
        image_token="<image>",
        video_token=VIDEO,
        num_additional_image_tokens=1,
        chat_template=CLIP_TEMPLATE,
    )
