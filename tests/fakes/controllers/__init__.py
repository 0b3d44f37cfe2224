"""What controllers do on a simulated cluster: Knative Serving and Eventing, Jobs."""
