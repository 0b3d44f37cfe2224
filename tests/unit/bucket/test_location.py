"""Addresses of buckets, and the URLs of objects in them."""

import pytest

from eaves.bucket.location import parse_location


@pytest.mark.parametrize(
    ("address", "endpoint", "region", "url"),
    [
        ("s3://photos", "", "", "https://photos.s3.us-east-1.amazonaws.com/a%20b/%C3%BC%2B.jpg"),
        ("s3://photos/gate/", "", "eu-central-1", "https://photos.s3.eu-central-1.amazonaws.com/a%20b/%C3%BC%2B.jpg"),
        ("s3://photos", "", "cn-north-1", "https://photos.s3.cn-north-1.amazonaws.com.cn/a%20b/%C3%BC%2B.jpg"),
        ("s3://my.photos", "", "", "https://s3.us-east-1.amazonaws.com/my.photos/a%20b/%C3%BC%2B.jpg"),
        ("s3://photos", "http://[::1]:9000/", "", "http://[::1]:9000/photos/a%20b/%C3%BC%2B.jpg"),
    ],
)
def test_the_url_of_an_object(address: str, endpoint: str, region: str, url: str):
    assert parse_location(address, endpoint=endpoint, region=region).url("a b/ü+.jpg") == url


def test_what_follows_the_name_is_the_prefix():
    location = parse_location("s3://photos/gate/north", endpoint="https://minio.example:9000")
    assert (location.name, location.prefix) == ("photos", "gate/north")
    assert location.shown == "bucket photos at minio.example:9000"


@pytest.mark.parametrize(
    "address", ["photos", "https://photos", "s3://", "s3:///a", "s3://a..b", "s3://a b", "s3:photos"]
)
def test_an_address_that_names_no_bucket_is_refused(address: str):
    with pytest.raises(ValueError, match="address: must be the address of a bucket"):
        parse_location(address)


@pytest.mark.parametrize(
    "endpoint",
    [
        "minio:9000",
        "ftp://minio",
        "http://",
        "http://user:secret@minio",
        "http://minio?x=1",
        "http://minio:0",
        "http://a b",
    ],
)
def test_a_wrong_endpoint_is_refused_without_being_shown(endpoint: str):
    with pytest.raises(ValueError, match="endpoint: must be") as caught:
        parse_location("s3://photos", endpoint=endpoint)
    assert "secret" not in str(caught.value)


def test_a_wrong_region_is_refused():
    with pytest.raises(ValueError, match="region: must be"):
        parse_location("s3://photos", region="eu west")
