"""The pages: each module has what its templates show, as pure functions, and builds its routes (`build_blueprint`).

overview      the first screen: a headline, a tile for each source (tiles), the links to the cloud
events        the list of events with its filter, and one event with the way of its image
images        the same list as pictures, thumbnails, and images themselves
functions     the functions: state, latencies, revisions; promote and roll back
dead_letters  the queues' dead letters: reasons, images, retry and delete
models        runs and artifacts (eaves.console.catalog)
try_it        a photo that a function predicts
prediction    the prediction in a record, and the row of an event, for all pages
"""
