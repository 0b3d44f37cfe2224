"""Try it: a photo that a person chose > an image event > a function's answer in words.

photo      the event of a photo, with a clean name
outcome    a function's answer, or the reason why there is none, in words
previews   thumbnails of the photos that were tried last, for the page
"""
