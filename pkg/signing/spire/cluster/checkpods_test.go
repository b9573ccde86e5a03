// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"encoding/pem"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	kubefake "k8s.io/client-go/kubernetes/fake"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// pods is SPIRE as Kubernetes shows it. Tests change one part of it.
type pods struct {
	address   string // spire-server-addr
	service   bool
	endpoint  bool // is ready
	server    int32
	ready     int32
	image     string // of the server
	agents    int32  // that are ready, of two
	published string // trust domain in ConfigMap spire-bundle; empty: none
}

func goodPods() pods {
	return pods{
		address: "spire-server.spire.svc.cluster.local:8081", service: true, endpoint: true, server: 1, ready: 1,
		image: "ghcr.io/spiffe/spire-server:1.15.3", agents: 2, published: verifytest.TrustDomain,
	}
}

func meta(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "spire", Name: name} }

func running(name, image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: name, Image: image}}}}
}

func (p pods) target(t *testing.T) cluster.Target {
	t.Helper()
	kube := kubefake.NewClientset(
		&appsv1.StatefulSet{
			ObjectMeta: meta("spire-server"),
			Spec:       appsv1.StatefulSetSpec{Replicas: &p.server, Template: running("main", p.image)},
			Status:     appsv1.StatefulSetStatus{ReadyReplicas: p.ready},
		},
		&appsv1.Deployment{
			ObjectMeta: meta("other"), Spec: appsv1.DeploymentSpec{Template: running("web", "nginx")},
		},
		&appsv1.DaemonSet{
			ObjectMeta: meta("agent"), Spec: appsv1.DaemonSetSpec{Template: running("spire-agent", "mirror/agent@sha256:0")},
			Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 2, NumberReady: p.agents},
		},
	)
	if p.service {
		_ = kube.Tracker().Add(&corev1.Service{ObjectMeta: meta("spire-server")})
	}
	if p.published != "" {
		ca, err := verifytest.NewCA(p.published)
		if err != nil {
			t.Fatal(err)
		}
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate.Raw})
		_ = kube.Tracker().Add(&corev1.ConfigMap{
			ObjectMeta: meta("spire-bundle"), Data: map[string]string{"bundle.crt": string(text)},
		})
	}
	wanted := settings.Default()
	wanted.Backend, wanted.SPIRE.TrustDomain = signing.BackendSPIRE, verifytest.TrustDomain
	wanted.SPIRE.ServerAddr = p.address
	return cluster.Target{
		Kube: kube, Objects: p.endpoints(), Settings: wanted, Now: verifytest.Start(), TektonNamespace: "tekton",
	}
}

func (p pods) endpoints() *dynamicfake.FakeDynamicClient {
	slice := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
		"metadata": map[string]any{
			"name": "spire-server-1", "namespace": "spire",
			"labels": map[string]any{"kubernetes.io/service-name": "spire-server"},
		},
		"endpoints": []any{map[string]any{"conditions": map[string]any{"ready": p.endpoint}}},
	}}
	kinds := map[schema.GroupVersionResource]string{
		{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}: "EndpointSliceList",
	}
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, slice)
}

// TestPreflightOfPods checks SPIRE's server, its agents and its trust domain, as Kubernetes shows them.
func TestPreflightOfPods(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*pods)
		id     string
		level  cluster.Level
		want   string
	}{
		"server": {func(*pods) {}, "TS423", cluster.Fine, "1 of 1 pods are ready of statefulset/spire-server"},
		"no service": {
			func(p *pods) { p.service = false }, "TS423", cluster.Broken,
			"kubectl patch configmap config-spire -n tekton --type merge",
		},
		"no ready endpoint": {
			func(p *pods) { p.endpoint = false }, "TS423", cluster.Broken, "a ready pod behind Service spire/spire-server",
		},
		"address of a node": {func(p *pods) { p.address = "10.0.0.1:8081" }, "TS423", cluster.Fine, "of statefulset/"},
		"outside of the cluster": {
			func(p *pods) { p.address, p.image = "spire.example:1", "x" }, "TS423", cluster.Fine, "not checked",
		},
		"server not ready": {
			func(p *pods) { p.address, p.ready = "10.0.0.1:8081", 0 }, "TS423", cluster.Broken,
			"kubectl rollout status -n spire statefulset/spire-server",
		},
		"server scaled down": {
			func(p *pods) { p.server, p.ready = 0, 0 }, "TS423", cluster.Broken,
			"kubectl scale -n spire statefulset/spire-server --replicas 1",
		},
		"old server": {func(p *pods) { p.image = "r/spire-server:1.9.6" }, "TS423", cluster.Warning, "1.9.6"},
		"agents":     {func(*pods) {}, "TS424", cluster.Fine, "2 of 2 pods are ready of daemonset/agent"},
		"an agent is not": {
			func(p *pods) { p.agents = 1 }, "TS424", cluster.Broken, "kubectl rollout status -n spire daemonset/agent",
		},
		"trust domain": {func(*pods) {}, "TS425", cluster.Fine, "SPIRE's trust domain is " + verifytest.TrustDomain},
		"another trust domain": {
			func(p *pods) { p.published = "other.example" }, "TS425", cluster.Broken,
			`-p '{"data":{"spire-trust-domain":"other.example"}}'`,
		},
		"another one of somebody else's": {
			func(p *pods) { p.published, p.address = "evil.example", "spire-server.security.svc:8081" }, "TS425", cluster.Fine,
			"is not known before the add-on runs",
		},
		"not published":  {func(p *pods) { p.published = "" }, "TS425", cluster.Fine, "is not known before the add-on runs"},
		"not registered": {func(*pods) {}, "TS426", cluster.Fine, "spire-server entry create -admin -spiffeID"},
	} {
		t.Run(name, func(t *testing.T) {
			p := goodPods()
			tc.change(&p)
			target := p.target(t)
			for _, c := range spirecluster.Preflight() {
				if c.ID == tc.id {
					wantFinding(t, c.Run(t.Context(), target), tc.level, tc.want)
				}
			}
		})
	}
}
