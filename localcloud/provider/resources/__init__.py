"""Every resource type that the local provider serves, by the token that `pulumi_aws` registers it with."""

from localcloud.provider.declarations import Resource
from localcloud.provider.resources import (
    appautoscaling_policy,
    appautoscaling_target,
    iam_role,
    iam_role_policy,
    s3_bucket,
    s3_bucket_lifecycle_configuration,
    s3_bucket_object,
    s3_bucket_ownership_controls,
    s3_bucket_policy,
    s3_bucket_public_access_block,
    s3_bucket_server_side_encryption_configuration,
    s3_bucket_versioning,
    sagemaker_endpoint,
    sagemaker_endpoint_configuration,
    sagemaker_model,
)

RESOURCES: dict[str, Resource] = {
    "aws:appautoscaling/policy:Policy": appautoscaling_policy.RESOURCE,
    "aws:appautoscaling/target:Target": appautoscaling_target.RESOURCE,
    "aws:iam/role:Role": iam_role.RESOURCE,
    "aws:iam/rolePolicy:RolePolicy": iam_role_policy.RESOURCE,
    "aws:s3/bucket:Bucket": s3_bucket.RESOURCE,
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": s3_bucket_lifecycle_configuration.RESOURCE,
    "aws:s3/bucketObjectv2:BucketObjectv2": s3_bucket_object.RESOURCE,
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": s3_bucket_ownership_controls.RESOURCE,
    "aws:s3/bucketPolicy:BucketPolicy": s3_bucket_policy.RESOURCE,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": s3_bucket_public_access_block.RESOURCE,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        s3_bucket_server_side_encryption_configuration.RESOURCE
    ),
    "aws:s3/bucketVersioning:BucketVersioning": s3_bucket_versioning.RESOURCE,
    "aws:sagemaker/endpoint:Endpoint": sagemaker_endpoint.RESOURCE,
    "aws:sagemaker/endpointConfiguration:EndpointConfiguration": sagemaker_endpoint_configuration.RESOURCE,
    "aws:sagemaker/model:Model": sagemaker_model.RESOURCE,
}
