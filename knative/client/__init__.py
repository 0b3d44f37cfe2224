"""How an API server is reached beside plain requests: kubeconfig files, login plugins, and connections to pods' ports.

    kubeconfig_files    which contexts there are, and what each of them names
    login_plugin        credentials that a program prints
    port_forward        HTTP to a port inside a pod

Nothing here knows of Eaves' own objects.
"""
