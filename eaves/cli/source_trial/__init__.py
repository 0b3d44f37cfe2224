"""What `eaves sources try` adds to the trial of a source.

tried_source       the source: a name in eaves.yaml, or an address, path or mapping
saved_image        the file that the image is written to
function_verdict   whether the function of eaves.yaml would take the image
"""
