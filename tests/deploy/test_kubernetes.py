"""deploy/kubernetes against the schemas of Kubernetes, and against what streamproxy does."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest

from tests.deploy.files import DEPLOY, documents, longest_stop, settings_of

VERSIONS = ("1.31", "1.35")
MANIFESTS = [document for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")) for document in documents(path)]


def _one(kind: str) -> dict[str, Any]:
    (found,) = [document for document in MANIFESTS if document["kind"] == kind]
    return found


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    return dict(_one("Deployment")["spec"]["template"]["spec"])


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["containers"]
    return dict(found)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_a_manifest_fits_its_schema(manifest: dict[str, Any], version: str) -> None:
    """Strictly: a field that the API does not have is a fault, where kubectl would drop it."""
    kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schema_is_really_asked() -> None:
    wrong = {**_one("Service"), "sepc": {}}
    with pytest.raises(kubernetes_validate.ValidationError, match="sepc"):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_streamproxy_takes_the_settings() -> None:
    """The ConfigMap and the Secret together are an environment that it starts with."""
    settings = settings_of({**_one("ConfigMap")["data"], **_one("Secret")["stringData"]})
    assert settings.server.workers == 1
    assert not settings.guest_allowed


def test_nobody_is_killed_before_the_drain_is_over(pod: dict[str, Any], container: dict[str, Any]) -> None:
    """preStop, the drain and the endings fit into the grace."""
    settings = settings_of({**_one("ConfigMap")["data"], **_one("Secret")["stringData"]})
    (_, pause) = container["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] >= float(pause) + longest_stop(settings)


def test_a_pod_that_drains_is_left_out_and_not_restarted(container: dict[str, Any]) -> None:
    """Readiness asks /readyz, which says 503 while it drains; liveness never does."""
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["startupProbe"]["httpGet"]["path"] == "/healthz"


def test_pods_are_counted_by_running_streams() -> None:
    """And a disruption takes one at a time."""
    metrics = _one("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert [m["pods"]["metric"]["name"] for m in metrics if m["type"] == "Pods"] == ["streamproxy_streams_running"]
    assert _one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_what_selects_pods_selects_these() -> None:
    labels = _one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    for selector in (
        _one("Deployment")["spec"]["selector"]["matchLabels"],
        _one("Service")["spec"]["selector"],
        _one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels


def test_a_pod_may_do_nothing_that_it_does_not_need(pod: dict[str, Any], container: dict[str, Any]) -> None:
    """Pod Security Standards, restricted, and a root that cannot be written."""
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/var/lib/streamproxy"}  # noqa: S108
