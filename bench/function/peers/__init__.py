"""The same exported model behind other servers, each set up as its documentation says, for `bench.function.others`."""
