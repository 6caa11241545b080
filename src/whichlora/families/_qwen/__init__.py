"""Parts of the Qwen-Image-Edit family; the plug-in itself is `families/qwen_image_edit.py`."""
