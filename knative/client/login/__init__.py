"""Which API server a command talks to, and as whom.

kubeconfig          contexts and service accounts; the only importer of `kubernetes`
kubeconfig_files    which contexts there are, and what each of them names
login_plugin        credentials that a program prints
"""
