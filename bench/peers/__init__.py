"""The same exported model behind other people's servers, each as its own documentation says; `bench.function_peers`."""
