"""Which fields of a new instance are read, and which are refused, with the reason.

A refused field may be there as long as it asks for nothing (null, false, empty). Fields that Compute Engine fills in
itself are ignored, as it does.
"""

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _all(text: str, reason: str) -> dict[str, str]:
    return dict.fromkeys(text.split(), reason)


INSTANCE: Final = _names(
    "name machineType disks networkInterfaces metadata tags labels scheduling deletionProtection serviceAccounts"
    # Filled in by Compute Engine.
    " cpuPlatform creationTimestamp fingerprint id kind labelFingerprint lastStartTimestamp lastStopTimestamp"
    " lastSuspendedTimestamp selfLink startRestricted status statusMessage zone"
)
NOT_INSTANCE: Final = {
    "advancedMachineFeatures": "hosts decide this for all their guests.",
    "canIpForward": "each VM's packet filter lets its own address through and no other.",
    "confidentialInstanceConfig": "hosts do not encrypt guests' memory.",
    "description": "say it in a label.",
    "displayDevice": "the portal shows a VM's screen without it.",
    "guestAccelerators": "hosts pass no accelerators on.",
    "hostname": "a guest is called as its VM.",
    "instanceEncryptionKey": "saved memory lies on the host as the disks do.",
    "keyRevocationActionType": "there are no customers' keys.",
    "localSsdEncryptionMode": "there are no local SSDs.",
    "minCpuPlatform": "a zone's hosts are not told apart by CPU.",
    "networkPerformanceConfig": "bandwidth has no tiers.",
    "params": "there are no resource manager tags.",
    "privateIpv6GoogleAccess": "networks are IPv4 only.",
    "reservationAffinity": "capacity cannot be reserved ahead.",
    "resourcePolicies": "policies belong to the portal.",
    "shieldedInstanceConfig": "guests boot without Secure Boot and without a TPM.",
    "shieldedInstanceIntegrityPolicy": "guests boot without a TPM.",
    "sourceMachineImage": "create the VM from an image.",
    "workloadIdentityConfig": "guests have no identity of their own.",
}

#: Query parameters of instances.insert, stop and delete.
NOT_INSERT: Final = {
    "sourceInstanceTemplate": "there are no templates of instances.",
    "sourceMachineImage": "create the VM from an image.",
}
NOT_STOP: Final = {"noGracefulShutdown": "a stop asks the guest first, and forces it off after its grace period."}

DISK: Final = _names(
    "autoDelete boot deviceName initializeParams kind mode type diskSizeGb interface"
    # Filled in by Compute Engine.
    " index architecture licenses"
)
NOT_DISK: Final = {
    "guestOsFeatures": "the image says what its guest can do.",
    "source": "give initializeParams.sourceImage: a VM begins with a disk of its own.",
    "diskEncryptionKey": "disks are not encrypted with customers' keys.",
    "forceAttach": "there are no regional disks.",
}

PARAMS: Final = _names("diskName diskSizeGb diskType sourceImage architecture")
NOT_PARAMS: Final = _all(
    "description enableConfidentialCompute labels licenses onUpdateAction provisionedIops provisionedThroughput"
    " replicaZones resourceManagerTags resourcePolicies sourceImageEncryptionKey sourceSnapshot"
    " sourceSnapshotEncryptionKey storagePool",
    "a boot disk is made of an image, with its size.",
)

METADATA: Final = _names("items fingerprint kind")
METADATA_ITEM: Final = _names("key value")
TAGS: Final = _names("items fingerprint")

SCHEDULING: Final = _names("automaticRestart onHostMaintenance hostErrorTimeoutSeconds provisioningModel")
NOT_SCHEDULING: Final = _all(
    "availabilityDomain gracefulShutdown instanceTerminationAction localSsdRecoveryTimeout locationHint"
    " maxRunDuration minNodeCpus nodeAffinities onInstanceStopAction preemptible skipGuestOsShutdown terminationTime"
    " exposeHostTopology preemptionNoticeDuration protectionTier",
    "VMs are neither preemptible nor bound to a host, and have no end set.",
)

INTERFACE: Final = _names("network subnetwork accessConfigs name kind fingerprint stackType nicType")
NOT_INTERFACE: Final = {
    "networkIP": "addresses are given by the product.",
    **_all("aliasIpRanges aliasIpv6Ranges", "a VM has one address."),
    **_all(
        "ipv6AccessConfigs ipv6AccessType ipv6Address internalIpv6PrefixLength",
        "networks are IPv4 only.",
    ),
    **_all(
        "enableVpcScopedDns igmpQuery networkAttachment parentNicName queueCount serviceClassId vlan",
        "each VM has one plain virtio interface.",
    ),
}
