"""The resources on the wire, in Compute Engine's own spelling. The OpenAPI document is made of these types.

64-bit integers are strings (`Int64`), as JSON has no integers of that size; fingerprints and the like are base64.
"""

from typing import Any, NewType, TypedDict, cast

Int64 = NewType("Int64", str)
Base64 = NewType("Base64", str)
Time = NewType("Time", str)  # RFC 3339


class WarningData(TypedDict):
    key: str
    value: str


class Warning(TypedDict, total=False):  # noqa: A001  # Google's name
    code: str
    message: str
    data: list[WarningData]


class AccessConfig(TypedDict, total=False):
    kind: str
    type: str
    name: str
    natIP: str


class NetworkInterface(TypedDict, total=False):
    kind: str
    name: str
    network: str
    subnetwork: str
    networkIP: str
    stackType: str
    fingerprint: Base64
    accessConfigs: list[AccessConfig]


class InitializeParams(TypedDict, total=False):
    diskName: str
    diskSizeGb: Int64
    diskType: str
    sourceImage: str


class AttachedDisk(TypedDict, total=False):
    kind: str
    type: str
    mode: str
    source: str
    deviceName: str
    index: int
    boot: bool
    autoDelete: bool
    interface: str
    diskSizeGb: Int64
    architecture: str
    initializeParams: InitializeParams


class MetadataItem(TypedDict, total=False):
    key: str
    value: str


class Metadata(TypedDict, total=False):
    kind: str
    fingerprint: Base64
    items: list[MetadataItem]


class Tags(TypedDict, total=False):
    fingerprint: Base64
    items: list[str]


class Scheduling(TypedDict, total=False):
    automaticRestart: bool
    onHostMaintenance: str
    preemptible: bool
    provisioningModel: str
    hostErrorTimeoutSeconds: int


class ShieldedInstanceConfig(TypedDict, total=False):
    enableSecureBoot: bool
    enableVtpm: bool
    enableIntegrityMonitoring: bool


class Instance(TypedDict, total=False):
    kind: str
    id: Int64
    name: str
    description: str
    creationTimestamp: Time
    lastStartTimestamp: Time
    lastStopTimestamp: Time
    lastSuspendedTimestamp: Time
    status: str
    statusMessage: str
    zone: str
    machineType: str
    cpuPlatform: str
    canIpForward: bool
    deletionProtection: bool
    startRestricted: bool
    disks: list[AttachedDisk]
    networkInterfaces: list[NetworkInterface]
    metadata: Metadata
    tags: Tags
    labels: dict[str, str]
    labelFingerprint: Base64
    fingerprint: Base64
    scheduling: Scheduling
    shieldedInstanceConfig: ShieldedInstanceConfig
    selfLink: str


class QuotaExceededInfo(TypedDict, total=False):
    metricName: str
    limitName: str
    limit: float
    dimensions: dict[str, str]


class ErrorInfo(TypedDict, total=False):
    reason: str
    domain: str
    metadatas: dict[str, str]


class LocalizedMessage(TypedDict, total=False):
    locale: str
    message: str


class ErrorDetail(TypedDict, total=False):
    errorInfo: ErrorInfo
    quotaInfo: QuotaExceededInfo
    localizedMessage: LocalizedMessage


class OperationErrorItem(TypedDict, total=False):
    code: str
    message: str
    location: str
    errorDetails: list[ErrorDetail]


class OperationError(TypedDict, total=False):
    errors: list[OperationErrorItem]


class Operation(TypedDict, total=False):
    kind: str
    id: Int64
    name: str
    zone: str
    clientOperationId: str
    operationType: str
    targetLink: str
    targetId: Int64
    status: str
    user: str
    progress: int
    insertTime: Time
    startTime: Time
    endTime: Time
    error: OperationError
    warnings: list[Warning]
    httpErrorStatusCode: int
    httpErrorMessage: str
    selfLink: str


class Zone(TypedDict, total=False):
    kind: str
    id: Int64
    name: str
    description: str
    status: str
    region: str
    selfLink: str


class Quota(TypedDict, total=False):
    metric: str
    limit: float
    usage: float


class Region(TypedDict, total=False):
    kind: str
    id: Int64
    name: str
    status: str
    zones: list[str]
    quotas: list[Quota]
    selfLink: str


class Deprecated(TypedDict, total=False):
    state: str


class MachineType(TypedDict, total=False):
    kind: str
    id: Int64
    name: str
    description: str
    guestCpus: int
    memoryMb: int
    isSharedCpu: bool
    maximumPersistentDisks: int
    maximumPersistentDisksSizeGb: Int64
    architecture: str
    zone: str
    deprecated: Deprecated
    selfLink: str


class Image(TypedDict, total=False):
    kind: str
    id: Int64
    creationTimestamp: Time
    name: str
    description: str
    family: str
    status: str
    architecture: str
    archiveSizeBytes: Int64
    diskSizeGb: Int64
    sourceType: str
    deprecated: Deprecated
    selfLink: str


class ImageFamilyView(TypedDict, total=False):
    image: Image


class Disk(TypedDict, total=False):
    kind: str
    id: Int64
    creationTimestamp: Time
    name: str
    sizeGb: Int64
    zone: str
    status: str
    sourceImage: str
    type: str
    users: list[str]
    architecture: str
    labelFingerprint: Base64
    selfLink: str


class Snapshot(TypedDict, total=False):
    kind: str
    id: Int64
    name: str
    description: str
    sourceDisk: str
    status: str
    selfLink: str


class DiskType(TypedDict, total=False):
    kind: str
    id: Int64
    name: str
    description: str
    validDiskSize: str
    defaultDiskSizeGb: Int64
    zone: str
    selfLink: str


class Project(TypedDict, total=False):
    kind: str
    id: Int64
    creationTimestamp: Time
    name: str
    description: str
    quotas: list[Quota]
    commonInstanceMetadata: Metadata
    selfLink: str


class Network(TypedDict, total=False):
    kind: str
    id: Int64
    name: str
    description: str
    autoCreateSubnetworks: bool
    subnetworks: list[str]
    selfLink: str


class Subnetwork(TypedDict, total=False):
    kind: str
    id: Int64
    name: str
    network: str
    ipCidrRange: str
    gatewayAddress: str
    region: str
    purpose: str
    stackType: str
    fingerprint: Base64
    selfLink: str


class FirewallRule(TypedDict, total=False):
    IPProtocol: str
    ports: list[str]


class Firewall(TypedDict, total=False):
    kind: str
    id: Int64
    name: str
    description: str
    network: str
    direction: str
    priority: int
    sourceRanges: list[str]
    allowed: list[FirewallRule]
    selfLink: str


class SerialPortOutput(TypedDict, total=False):
    kind: str
    contents: str
    start: Int64
    next: Int64
    selfLink: str


class Nothing(TypedDict):
    """An empty answer."""


class LabelsRequest(TypedDict, total=False):
    labels: dict[str, str]
    labelFingerprint: Base64


class MachineTypeRequest(TypedDict, total=False):
    machineType: str


class ErrorItem(TypedDict, total=False):
    message: str
    domain: str
    reason: str
    location: str
    locationType: str


class ErrorBody(TypedDict, total=False):
    code: int
    message: str
    status: str
    errors: list[ErrorItem]
    details: list[dict[str, Any]]


class Error(TypedDict):
    """What every refusal looks like."""

    error: ErrorBody


#: A TypedDict whose name and fields are known at run time alone.
_make: Any = TypedDict


def list_of(item: type) -> type:
    """A page of a list of `item`."""
    fields = {"kind": str, "id": str, "items": list[item], "nextPageToken": str, "selfLink": str}  # type: ignore[valid-type]
    return cast(type, _make(f"{item.__name__}List", fields, total=False))


def aggregated_list_of(item: type, collection: str) -> type:
    """A page of a list of `item` over all zones; `collection` is its key in each."""
    scoped = _make(f"{item.__name__}ScopedList", {collection: list[item], "warning": Warning}, total=False)  # type: ignore[valid-type]
    fields = {
        "kind": str,
        "id": str,
        "items": dict[str, scoped],  # type: ignore[valid-type]
        "nextPageToken": str,
        "selfLink": str,
    }
    return cast(type, _make(f"{item.__name__}AggregatedList", fields, total=False))
