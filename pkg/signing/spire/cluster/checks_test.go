// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

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
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// sample is a cluster with what the backend needs. Tests change one part of it.
type sample struct {
	driver bool
	on     []string      // nodes with the driver
	domain string        // whose authority the add-on has seen; empty: none
	after  time.Duration // after the authority was made
	unread error         // of the trust history
	report *spirecluster.Report
	more   *corev1.ConfigMap
}

func (s sample) check(t *testing.T) []cluster.Finding {
	t.Helper()
	kube := kubefake.NewClientset(
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "b"}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "w", Labels: map[string]string{corev1.LabelOSStable: "windows"}}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "drained"}, Spec: corev1.NodeSpec{Unschedulable: true}},
	)
	if s.report != nil {
		s.more = reportMap(t, s.report)
	}
	if s.more != nil {
		_ = kube.Tracker().Add(s.more)
	}
	current := settings.Default()
	current.SPIRE.ServerAddr = "spire.example:8081"
	current.Backend, current.SPIRE.TrustDomain = signing.BackendSPIRE, verifytest.TrustDomain
	return spirecluster.Check(t.Context(), cluster.Target{
		Kube: kube, Objects: s.objects(), Settings: current, Now: verifytest.Start().Add(s.after),
		History: func(context.Context) (trust.History, error) { return historyOf(t, s.domain), s.unread },
	})
}

// objects are the objects of the API group storage.k8s.io.
func (s sample) objects() *dynamicfake.FakeDynamicClient {
	object := func(kind, name string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "storage.k8s.io/v1", "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec,
		}}
	}
	var all []runtime.Object
	if s.driver {
		all = append(all, object("CSIDriver", "csi.spiffe.io", nil))
	}
	for _, node := range s.on {
		drivers := []any{map[string]any{"name": "ebs.csi.aws.com"}, map[string]any{"name": "csi.spiffe.io"}}
		all = append(all, object("CSINode", node, map[string]any{"drivers": drivers}))
	}
	kinds := map[schema.GroupVersionResource]string{
		{Group: "storage.k8s.io", Version: "v1", Resource: "csidrivers"}: "CSIDriverList",
		{Group: "storage.k8s.io", Version: "v1", Resource: "csinodes"}:   "CSINodeList",
	}
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, all...)
}

// historyOf returns a trust history with an authority of the trust domain, if it has a name.
func historyOf(t *testing.T, domain string) trust.History {
	t.Helper()
	history := trust.History{}
	if domain == "" {
		return history
	}
	ca, err := verifytest.NewCA(domain)
	if err != nil {
		t.Fatal(err)
	}
	err = history.Observe(&trust.Cluster{Domains: []trust.Domain{{
		TrustDomain: domain, X509Authorities: []trust.X509Authority{
			{DER: base64.StdEncoding.EncodeToString(ca.Certificate.Raw)},
		},
	}}}, verifytest.Start())
	if err != nil {
		t.Fatal(err)
	}
	return history
}

func TestCheck(t *testing.T) {
	good := func() sample {
		return sample{driver: true, on: []string{"a", "b"}, domain: verifytest.TrustDomain}
	}
	for name, tc := range map[string]struct {
		change func(*sample)
		level  cluster.Level
		want   string // in the message, in what was expected and got, or the next step
	}{
		"in order":        {func(*sample) {}, cluster.Fine, "valid until"},
		"no driver":       {func(s *sample) { s.driver = false }, cluster.Broken, "install the SPIFFE CSI driver"},
		"not on one node": {func(s *sample) { s.on = []string{"a"} }, cluster.Broken, "not on b"},
		"no SVID":         {func(s *sample) { s.domain = "" }, cluster.Broken, "the add-on has no SVID"},
		"other domain":    {func(s *sample) { s.domain = "other.example" }, cluster.Broken, "authorities of other.example"},
		"no history": {
			func(s *sample) { s.unread = errors.New("forbidden") }, cluster.Unread, "cannot read the trust history",
		},
		"expires soon": {
			func(s *sample) { s.after = 12 * 24 * time.Hour }, cluster.Warning, "expires soon",
		},
		"expired": {func(s *sample) { s.after = 100 * 365 * 24 * time.Hour }, cluster.Broken, "has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			tc.change(&s)
			s.report = reportOf(verifytest.Start().Add(s.after), 2)
			found := ""
			for _, f := range s.check(t) {
				text := strings.Join([]string{f.Message, f.Expected, f.Got, f.Next}, "\n")
				switch {
				case f.Level == tc.level && strings.Contains(text, tc.want):
					found = text
				case f.Level != cluster.Fine:
					t.Errorf("unexpected: %s", text)
				}
				if f.Level == cluster.Broken && (f.Expected == "" || f.Got == "" || f.Next == "") {
					t.Errorf("expected what was expected, what was found, and the next step, got %+v", f)
				}
			}
			if found == "" {
				t.Errorf("no finding with %q", tc.want)
			}
		})
	}
}
