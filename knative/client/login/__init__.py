"""The choice of an API server and of the user's credentials.

kubeconfig          reads contexts and service accounts; it is the only importer of `kubernetes`
kubeconfig_files    merges kubeconfig files and resolves contexts
login_plugin        runs a program that prints credentials
"""
