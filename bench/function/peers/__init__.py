"""One exported model behind other people's servers, each as its documentation says: for `bench.function.others`."""
