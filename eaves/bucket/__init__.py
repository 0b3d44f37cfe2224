"""Object stores with the S3 API, for the source of kind `s3` and for claim checks.

bucket       interface to one bucket, and the object in it
location     location of a bucket: `s3://NAME/PREFIX`, endpoint and region
aws_client   sends one signed request to S3 or SQS, within limits of size and time
s3_errors    the meaning of a store's refusal, for a person
listing      one page of a listing, parsed from XML
strict_xml   parsing XML without document types
s3_bucket    the bucket itself

The package sends every request itself, by `eaves.http_client` and `eaves.credentials.aws_signature`, and uses no
library for S3. obstore 0.12 was tried first: one object whose key has an empty part, such as `a//b.jpg`, ends its
listing of the whole bucket, so anybody who may write to the bucket could stop a source for good; its prefixes are whole
folders only; its requests can't be ended from another thread; and it adds 16 MB.
Source: developmentseed/obstore, issue 429.
"""

from eaves.bucket.bucket import Bucket, StoredObject
from eaves.bucket.location import BucketLocation, parse_location
from eaves.bucket.s3_bucket import open_bucket

__all__ = ["Bucket", "BucketLocation", "StoredObject", "open_bucket", "parse_location"]
