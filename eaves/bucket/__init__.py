"""Object stores with the S3 API, for the source of kind `s3` and for claim checks.

bucket      interface to one bucket, and the object in it
location    location of a bucket: `s3://NAME/PREFIX`, endpoint and region
s3_bucket   the bucket itself, by boto3, and the meaning of its errors for a person; the one import of boto3

Only `bucket` and `location` can be imported without boto3, which the extra `s3` has.
"""
