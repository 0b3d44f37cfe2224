"""Object stores with the S3 API, for the source of kind `s3` and for claim checks.

bucket      interface to one bucket, and the object in it
location    location of a bucket: `s3://NAME/PREFIX`, endpoint and region
aws_client  boto3's client of S3, and the meaning of its errors for a person; the one import of boto3
s3_bucket   the bucket itself

Only `bucket` and `location` can be imported without boto3, which the extra `s3` has.
"""
