"""Kubeconfigs as people have them: several files, several contexts, login plugins, and what can be wrong with them."""

import json
import logging
import os
import pty
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from eaves.errors import ClusterError, ConfigError, DeniedError, UnreachableClusterError
from knative.client import kubeconfig
from knative.client.cluster import Cluster, open_cluster
from tests.fakes.http.proxy import open_proxy
from tests.fakes.kubernetes.apiserver import FakeCluster, Reply, open_apiservers, write_kubeconfig
from tests.inputs.certificates import make_certificate


def plugin(tmp_path: Path, text: str) -> dict[str, Any]:
    """A user whose login plugin is a script of Python."""
    script = tmp_path / "plugin.py"
    script.write_text(text)
    api = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": api, "command": sys.executable, "args": [str(script)], "interactiveMode": "Never"}}


def credential(**status: str) -> str:
    value = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"print({json.dumps(json.dumps(value))})"


def headers(cluster: Cluster, apiserver: FakeCluster) -> Any:
    cluster.version()
    return apiserver.log[-1].headers


def test_a_context_is_chosen_by_name_and_brings_its_namespace(apiserver: FakeCluster, tmp_path: Path):
    file = apiserver.kubeconfig(tmp_path / "kubeconfig", namespace="cams", contexts=["barn", "mill"])
    cluster = open_cluster(kubeconfig=file, context="mill")
    assert (cluster.name, cluster.namespace) == ("mill", "cams")
    assert open_cluster(kubeconfig=file).name == "barn"
    assert open_cluster(kubeconfig=file, namespace="other").namespace == "other"


def test_without_a_file_it_is_kubectls_own(apiserver: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=f"{tmp_path}/.kube/config: the kubeconfig does not exist"):
        open_cluster()
    (tmp_path / ".kube").mkdir()
    apiserver.kubeconfig(tmp_path / ".kube" / "config")
    assert open_cluster().version() == "v1.36.2"


def test_a_login_plugin_is_asked_for_a_token_and_again_when_it_expires(apiserver: FakeCluster, tmp_path: Path):
    user = plugin(tmp_path, credential(token="first"))
    cluster = open_cluster(kubeconfig=apiserver.kubeconfig(tmp_path / "kubeconfig", user=user))
    assert headers(cluster, apiserver)["Authorization"] == "Bearer first"
    plugin(tmp_path, credential(token="second"))
    apiserver.tokens = {"second"}
    assert headers(cluster, apiserver)["Authorization"] == "Bearer second"


def test_a_token_that_a_login_proxy_refuses_is_renewed_though_the_answer_is_not_the_api_servers(
    apiserver: FakeCluster, tmp_path: Path
):
    user = plugin(tmp_path, credential(token="first"))
    cluster = open_cluster(kubeconfig=apiserver.kubeconfig(tmp_path / "kubeconfig", user=user))
    plugin(tmp_path, credential(token="second"))
    refused = Reply(status=401, body=b"token expired")
    apiserver.fault = lambda request: refused if request.headers["Authorization"] == "Bearer first" else None
    assert cluster.version() == "v1.36.2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys; sys.exit('session expired, run sso-login')", "session expired, run sso-login"),
        ("print('no json')", "failed to decode process output"),
        (credential().replace("{}", "null"), "neither a token nor a certificate"),
        (credential(token="a").replace("/v1", "/v1beta1"), "api version .*/v1beta1 does not match"),
    ],
)
def test_a_login_plugin_that_fails_is_quoted(
    apiserver: FakeCluster, tmp_path: Path, text: str, said: str, caplog: pytest.LogCaptureFixture
):
    file = apiserver.kubeconfig(tmp_path / "kubeconfig", user=plugin(tmp_path, text))
    with pytest.raises(DeniedError, match=f"edge: the login to the cluster failed: .*{said}") as caught:
        open_cluster(kubeconfig=file)
    assert "kubectl --context edge get namespaces" in str(caught.value.hint)
    assert caplog.text == ""


def test_the_messages_of_a_login_plugin_that_fails_at_a_terminal_are_seen_there(apiserver: FakeCluster, tmp_path: Path):
    file = apiserver.kubeconfig(tmp_path / "kubeconfig", user=plugin(tmp_path, "import sys; sys.exit('no session')"))
    ours, theirs = pty.openpty()
    words = [sys.executable, "-P", "-m", "eaves.cli", "status", "--on", "knative", "--kubeconfig", str(file)]
    done = subprocess.run(words, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
    os.close(theirs)
    os.close(ours)
    assert b"no session" in done.stderr
    assert b"the login to the cluster failed: exec: the plugin failed with exit code 1" in done.stderr


def test_a_login_plugin_that_hangs_does_not_hold_the_command_up(tmp_path: Path):
    hanging = plugin(tmp_path, "import time; time.sleep(60)")["exec"]
    with pytest.raises(DeniedError, match=r"the plugin did not answer within 0\.3 s"):
        kubeconfig.run_plugin("edge", hanging, {}, timeout_s=0.3)


def test_a_login_plugin_that_asks_for_the_cluster_gets_its_authority_as_data(apiserver: FakeCluster, tmp_path: Path):
    """A path means nothing to it, as ExecCredential knows only data."""
    (tmp_path / "ca.crt").write_text("PEM")
    asked = tmp_path / "question.json"
    text = f"import os; open({str(asked)!r}, 'w').write(os.environ['KUBERNETES_EXEC_INFO'])\n{credential(token='a')}"
    user = plugin(tmp_path, text)
    user["exec"]["provideClusterInfo"] = True
    file = apiserver.kubeconfig(tmp_path / "kubeconfig", user=user)
    config = yaml.safe_load(file.read_text())
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "edge"}}
    config["clusters"][0]["cluster"] |= {"certificate-authority": "ca.crt", "extensions": [extension]}
    file.write_text(yaml.safe_dump(config))
    open_cluster(kubeconfig=file)
    cluster = json.loads(asked.read_text())["spec"]["cluster"]
    assert (cluster["certificate-authority-data"], cluster["config"]) == ("UEVN", {"audience": "edge"})
    assert "certificate-authority" not in cluster


def test_a_login_plugin_beside_the_kubeconfig_is_found_from_any_folder(apiserver: FakeCluster, tmp_path: Path):
    script = tmp_path / "login"
    script.write_text(f"#!{sys.executable}\n{credential(token='near')}\n")
    script.chmod(0o755)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login"}}
    sent = headers(open_cluster(kubeconfig=apiserver.kubeconfig(tmp_path / "kubeconfig", user=user)), apiserver)
    assert sent["Authorization"] == "Bearer near"


def test_a_login_plugin_may_give_a_certificate(tmp_path: Path):
    certificate, key = make_certificate(tmp_path / "tls")
    printed = credential(clientCertificateData=certificate.read_text(), clientKeyData=key.read_text())
    with open_apiservers(["edge"], certificate=(certificate, key)) as (server,):
        file = server.kubeconfig(tmp_path / "kubeconfig", user=plugin(tmp_path, printed))
        config = yaml.safe_load(file.read_text())
        config["clusters"][0]["cluster"]["certificate-authority"] = "tls/certificate.pem"
        file.write_text(yaml.safe_dump(config))
        assert open_cluster(kubeconfig=file).version() == "v1.36.2"


def test_of_several_files_the_first_that_names_something_wins(apiserver: FakeCluster, tmp_path: Path):
    """The rule is kubectl's; `a` beside it has no current context."""
    first, second = tmp_path / "a", tmp_path / "b"
    apiserver.kubeconfig(first, contexts=["barn"], user={"token": "first"})
    apiserver.kubeconfig(second, contexts=["mill", "barn"], user={"token": "second"})
    several = Path(f"{first}:{second}")
    assert open_cluster(kubeconfig=several).name == "barn"
    assert headers(open_cluster(kubeconfig=several), apiserver)["Authorization"] == "Bearer first"


def test_certificates_of_the_kubeconfig_are_used_on_both_sides(tmp_path: Path):
    certificate, key = make_certificate(tmp_path / "tls")
    with open_apiservers(["edge"], certificate=(certificate, key)) as (server,):
        file = server.kubeconfig(tmp_path / "kubeconfig", user={"client-certificate": "tls/certificate.pem"})
        config = yaml.safe_load(file.read_text())
        with pytest.raises(UnreachableClusterError, match=r"the certificate of https.* can't be verified"):
            open_cluster(kubeconfig=file).version()
        config["clusters"][0]["cluster"]["certificate-authority-data"] = b64encode(certificate.read_bytes()).decode()
        config["users"][0]["user"]["client-key-data"] = b64encode(key.read_bytes()).decode()
        file.write_text(yaml.safe_dump(config))
        assert open_cluster(kubeconfig=file).version() == "v1.36.2"


def test_a_cluster_on_this_machine_is_reached_without_the_proxy(
    apiserver: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with open_proxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
        assert open_cluster(kubeconfig=apiserver.kubeconfig(tmp_path / "kubeconfig")).version() == "v1.36.2"
        assert proxy.asked == []


@pytest.mark.parametrize("no_proxy", ["10.0.0.0/8", "198.51.100.0/24"])
def test_a_cluster_elsewhere_is_reached_through_the_proxy_unless_no_proxy_covers_it(
    apiserver: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_proxy: str
):
    place = "198.51.100.7:6443"  # an address for documentation
    file = write_kubeconfig(tmp_path / "kubeconfig", {"edge": f"http://{place}/clusters/edge"})
    with open_proxy() as proxy:
        proxy.routes[place] = urlsplit(apiserver.url).port or 0
        proxy.authorization = "Basic dXNlcjpzZWNyZXQ="
        monkeypatch.setenv("http_proxy", f"http://user:secret@{proxy.host}")
        monkeypatch.setenv("no_proxy", no_proxy)
        if no_proxy.startswith("198"):
            with pytest.raises(ClusterError):
                open_cluster(kubeconfig=file, timeout_s=0.2).version()
            assert proxy.targets() == []
        else:
            assert open_cluster(kubeconfig=file).version() == "v1.36.2"
            assert proxy.targets() == [f"GET http://{place}/clusters/edge/version"]


def test_the_proxy_of_a_kubeconfig_is_used_for_any_server(
    apiserver: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A server at 127.0.0.1 may be one at the other end of a tunnel. As kubectl does."""
    file = apiserver.kubeconfig(tmp_path / "kubeconfig")
    with open_proxy() as proxy:
        place = urlsplit(apiserver.url).netloc
        proxy.routes[place] = urlsplit(apiserver.url).port or 0
        config = yaml.safe_load(file.read_text())
        config["clusters"][0]["cluster"]["proxy-url"] = f"http://{proxy.host}"
        file.write_text(yaml.safe_dump(config))
        monkeypatch.setenv("NO_PROXY", "*")
        assert open_cluster(kubeconfig=file).version() == "v1.36.2"
        assert proxy.targets() == [f"GET http://{place}/clusters/edge/version"]


def test_a_context_that_is_not_there_comes_with_those_that_are(apiserver: FakeCluster, tmp_path: Path):
    file = apiserver.kubeconfig(tmp_path / "kubeconfig", contexts=["barn", "mill"])
    with pytest.raises(
        ConfigError, match=r"the context 'barm' does not exist \(known contexts: barn, mill\)"
    ) as caught:
        open_cluster(kubeconfig=file, context="barm")
    assert caught.value.hint == "kubectl config use-context NAME"


def test_what_is_wrong_with_a_kubeconfig_is_said(apiserver: FakeCluster, tmp_path: Path):
    file = tmp_path / "kubeconfig"
    with pytest.raises(ConfigError, match=f"{file}: the kubeconfig does not exist") as caught:
        open_cluster(kubeconfig=file)
    assert "KUBECONFIG" in str(caught.value.hint)
    for text in ("", "- a\n- b", "\x00", "apiVersion: v1\ncontexts: [{name: x}]\ncurrent-context: x"):
        file.write_text(text)
        with pytest.raises(ConfigError, match=f"{file}: ") as caught:
            open_cluster(kubeconfig=file)
        assert caught.value.hint, text
    for server in ("127.0.0.1:6443", "https://"):
        with pytest.raises(ConfigError, match=r"clusters: the server must be https://HOST"):
            open_cluster(kubeconfig=write_kubeconfig(file, {"barn": server}))
    # Its refreshed tokens would have to be written back for kubectl, as each refresh token may count once only.
    user = {"auth-provider": {"name": "oidc", "config": {"refresh-token": "r"}}}
    with pytest.raises(ConfigError, match="auth-provider is not supported"):
        open_cluster(kubeconfig=apiserver.kubeconfig(file, user=user))


def test_a_context_of_a_cluster_that_is_not_there_tells_no_secret(apiserver: FakeCluster, tmp_path: Path):
    file = apiserver.kubeconfig(tmp_path / "kubeconfig", user={"token": "s3cret"})
    config = yaml.safe_load(file.read_text())
    config["clusters"][0]["name"] = "other"
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match="the kubeconfig can't be used") as caught:
        open_cluster(kubeconfig=file)
    assert "s3cret" not in str(caught.value)


def test_a_server_that_nobody_checks_is_warned_of_once(
    apiserver: FakeCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    file = apiserver.kubeconfig(tmp_path / "kubeconfig")
    config = yaml.safe_load(file.read_text())
    config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = True
    file.write_text(yaml.safe_dump(config))
    with caplog.at_level(logging.WARNING, "knative"):
        cluster = open_cluster(kubeconfig=file)
        assert [cluster.version() for _ in range(2)]
    assert caplog.text.count("insecure-skip-tls-verify") == 1


def test_two_hundred_contexts_are_read_once(tmp_path: Path):
    servers = {f"site-{number:03}": f"https://10.0.0.1:{6000 + number}" for number in range(200)}
    file = write_kubeconfig(tmp_path / "kubeconfig", servers)
    open_cluster(kubeconfig=file)
    started = time.process_time()
    assert [open_cluster(kubeconfig=file, context=name).name for name in servers] == list(servers)
    assert time.process_time() - started < 2  # parsing it 200 times would take 15
