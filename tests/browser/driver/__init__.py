"""Parts that drive Chromium: how it is started, what is watched on each page, keys, layout, accessibility."""
