"""The part of KubeRay's resources that jobs/cluster uses, and the check against all of them.

The tests take the part below. When the files change, check them against the whole of it too, in a
clone of ray-project/kuberay (v1.5.1, v1.6.2 and v1.7.0 accept them):

    python tests/jobs/kuberay_schema.py kuberay/ray-operator/config/crd/bases
"""

from __future__ import annotations

import sys
from pathlib import Path

import jsonschema
import yaml

CLUSTER = Path(__file__).parents[2] / "jobs" / "cluster"
FILES = {"rayjob.yaml": "ray.io_rayjobs.yaml", "raycluster.yaml": "ray.io_rayclusters.yaml"}

TEXT, WHOLE, FLAG = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}


def table(required="", **properties):
    """A table with these entries and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def listed(item):
    return {"type": "array", "items": item, "minItems": 1}


VOLUME = table(
    "name",
    name=TEXT,
    persistentVolumeClaim=table("claimName", claimName=TEXT),
    emptyDir=table(medium={"const": "Memory"}, sizeLimit=TEXT),
)
CONTAINER = table(
    "name image resources",
    name=TEXT,
    image=TEXT,
    resources=table("requests limits", requests=TEXTS, limits=TEXTS),
    volumeMounts=listed(table("name mountPath", name=TEXT, mountPath=TEXT)),
)
TOLERATION = table(
    "",
    key=TEXT,
    operator={"enum": ["Exists", "Equal"]},
    effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
)
TEMPLATE = table(
    "spec",
    spec=table(
        "containers",
        containers=listed(CONTAINER),
        volumes=listed(VOLUME),
        tolerations=listed(TOLERATION),
        nodeSelector=TEXTS,
    ),
)
CLUSTER_SPEC = table(
    "headGroupSpec workerGroupSpecs rayVersion authOptions",
    rayVersion=TEXT,
    authOptions=table("mode", mode={"enum": ["token", "disabled"]}),
    enableInTreeAutoscaling=FLAG,
    autoscalerOptions=table(version={"enum": ["v1", "v2"]}, idleTimeoutSeconds=WHOLE),
    headGroupSpec=table("rayStartParams template", rayStartParams=TEXTS, template=TEMPLATE),
    workerGroupSpecs=listed(
        table(
            "groupName replicas minReplicas maxReplicas rayStartParams template",
            groupName=TEXT,
            replicas=WHOLE,
            minReplicas=WHOLE,
            maxReplicas=WHOLE,
            labels=TEXTS,
            rayStartParams=TEXTS,
            template=TEMPLATE,
        )
    ),
)
JOB_SPEC = table(
    "entrypoint rayClusterSpec",
    entrypoint=TEXT,
    backoffLimit=WHOLE,
    shutdownAfterJobFinishes=FLAG,
    ttlSecondsAfterFinished=WHOLE,
    rayClusterSpec=CLUSTER_SPEC,
)


def resource(kind, spec):
    return table(
        "apiVersion kind metadata spec",
        apiVersion={"const": "ray.io/v1"},
        kind={"const": kind},
        metadata=table("name", name=TEXT),
        spec=spec,
    )


SCHEMAS = {
    "rayjob.yaml": resource("RayJob", JOB_SPEC),
    "raycluster.yaml": resource("RayCluster", CLUSTER_SPEC),
}


def strict(schema):
    """KubeRay's schema as JSON schema, in which what it does not name is an error too."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(part) for key, part in schema.items()}
    if made.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if made.get("type") == "object" and "properties" in made:
        made.setdefault("additionalProperties", False)
    return made


def read_kuberay(path):
    versions = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]["versions"]
    (found,) = (version["schema"] for version in versions if version["name"] == "v1")
    found["openAPIV3Schema"]["properties"]["metadata"] = {}  # Kubernetes has it elsewhere
    return strict(found["openAPIV3Schema"])


def main(folder):
    for name, crd in FILES.items():
        document = yaml.safe_load((CLUSTER / name).read_text(encoding="utf-8"))
        jsonschema.Draft7Validator(read_kuberay(Path(folder) / crd)).validate(document)
        print(f"{name}: valid")


if __name__ == "__main__":
    main(*sys.argv[1:])
