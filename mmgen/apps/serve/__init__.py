"""The local app of `mmgen serve`. All but `page` and `app` is plain Python, which knows nothing of gradio."""
