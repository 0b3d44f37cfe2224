"""Who a caller is, by token and certificate."""

from pathlib import Path

import pytest

from eaves.link.sites import Sites

MILL, HARBOUR, KEY = "token-of-the-mill", "token-of-the-harbour", "schlüssel-der-burg"


@pytest.fixture
def sites(tmp_path: Path) -> Sites:
    (tmp_path / "mill").write_text(f"\n# for the gateway\n  {MILL}  \r\nsecond-token-of-the-mill\n")
    (tmp_path / "harbour").write_text(HARBOUR)
    (tmp_path / "castle").write_text(KEY)
    (tmp_path / "lighthouse").write_text("")
    (tmp_path / "..data").mkdir()
    (tmp_path / ".hidden").write_text("token-of-a-hidden-file")
    return Sites(tmp_path)


def test_sites_are_the_files_that_have_such_a_name(sites: Sites):
    assert set(sites.names()) == {"mill", "harbour", "lighthouse", "castle"}


@pytest.mark.parametrize(
    ("authorization", "names", "site"),
    [
        (f"Bearer {MILL}", (), "mill"),
        ("Bearer second-token-of-the-mill", (), "mill"),
        (f"bearer  {HARBOUR} ", (), "harbour"),
        (f"Bearer {KEY.encode().decode('latin-1')}", (), "castle"),
        ("Bearer token-of-a-hidden-file", (), ""),
        ("Bearer # for the gateway", (), ""),
        (f"Bearer {MILL}, Bearer {HARBOUR}", (), ""),
        ("", ("lighthouse", "gateway.example"), "lighthouse"),
        ("", ("lighthouse", "mill"), ""),
        ("", ("gateway.example",), ""),
        (f"Bearer {MILL}", ("mill",), "mill"),
        (f"Bearer {MILL}", ("harbour",), ""),
        ("Bearer wrong", ("harbour",), ""),
    ],
)
def test_a_caller_is_one_site_or_none(sites: Sites, authorization: str, names: tuple[str, ...], site: str):
    assert sites.identify(authorization, names) == site


def test_a_token_of_two_sites_is_reported_with_both_files(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for name in ("mill", "harbour", "castle"):
        (tmp_path / name).write_text(f"{MILL}\n" if name != "castle" else KEY)
    sites = Sites(tmp_path)
    assert sites.shared_tokens() == [("harbour", "mill")]
    (reported,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert reported.startswith(f"{tmp_path}/harbour, {tmp_path}/mill have the same token")
    assert sites.find_by_token(MILL) == ""
