// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/enabletest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
)

func TestStatusHealthy(t *testing.T) {
	in := newInstalled(t, nil)
	s := in.status(0)
	if got := amiss(s.Checks); s.Outcome != status.Healthy || got != "" {
		t.Errorf("outcome: got %s, want %s; amiss:\n%s", s.Outcome, status.Healthy, got)
	}
	if s.AddOn == nil || s.Settings == nil || s.Settings.Namespaces == nil {
		t.Fatalf("parts are missing: %+v", s)
	}
	want := status.NamespaceModes{
		InScope: 2, Audit: 1, Enforce: 1,
		Other: []status.NamespaceMode{{Namespace: "release", Enforcement: "enforce"}},
	}
	if diff := cmp.Diff(want, *s.Settings.Namespaces); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	backend := status.Setting{Name: "backend", Value: "oidc-sa-token", Key: settings.KeyBackend}
	if got := s.Settings.Values[0]; got != backend {
		t.Errorf("first setting: got %+v", got)
	}
	seen := map[status.CheckID]bool{}
	for _, c := range s.Checks {
		seen[c.ID] = true
	}
	for _, id := range []status.CheckID{
		status.CheckSettings, status.CheckDeployment, status.CheckVersion, status.CheckLeader, status.CheckClock,
		status.CheckCertificate, status.CheckTrustHistory, status.CheckObjects, status.CheckGrants,
		status.CheckTekton, status.CheckTektonSigner, status.CheckBackoff,
	} {
		if !seen[id] {
			t.Errorf("check %s is missing", id)
		}
	}
}

// Signing is off, with different things left in the cluster.
func TestStatusOff(t *testing.T) {
	off := func(in *installed) {
		get[settingsMap](in, settings.ConfigMapName).Data = map[string]string{settings.KeyBackend: "none"}
		dropGrant(in, "ci")
		dropGrant(in, "release")
	}
	empty := func(in *installed) {
		in.objects = []runtime.Object{enabletest.TektonController(tektonNamespace), enabletest.Namespace("ci", nil)}
	}
	for name, tc := range map[string]struct {
		edit    edit
		outcome status.Outcome
		want    string
	}{
		"never on":            {empty, status.Off, ""},
		"off by the settings": {off, status.Off, "warn left-over: signing is off, but this is still there: ClusterRole "},
		"no grant may stay": {
			func(in *installed) {
				off(in)
				in.add(enabletest.Grant("ci"))
			}, status.Broken, "still in effect: RoleBinding ci/tekton-sign-token-requester",
		},
		"no webhook may stay": {
			func(in *installed) {
				empty(in)
				in.add(newInstalled(t, nil).webhooksOnly())
			}, status.Broken, "still in effect: MutatingWebhookConfiguration",
		},
		"the history may": {func(in *installed) { empty(in); in.add(in.trustHistory(in.now)) }, status.Off, ""},
		"Tekton is not there": {
			func(in *installed) { in.objects = nil }, status.Broken, "fail tekton: no Tekton Pipelines",
		},
		"forbidden to look": {
			func(in *installed) {
				empty(in)
				in.forbid("list", "")
			}, status.Unknown, "unknown tekton: you may not read the Deployments and StatefulSets of all namespaces",
		},
		"settings cannot be read": {
			func(in *installed) {
				empty(in)
				in.forbid("get", "configmaps")
			}, status.Broken, "unknown settings: you may not read ConfigMap openshift-pipelines/config-signing",
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstalled(t, nil)
			tc.edit(in)
			s := in.status(0)
			if got := amiss(s.Checks); s.Outcome != tc.outcome || !strings.Contains(got, tc.want) {
				t.Errorf("got %s and\n%swant %s and %q", s.Outcome, got, tc.outcome, tc.want)
			}
		})
	}
}

func (in *installed) webhooksOnly() runtime.Object { return get[webhooks](in, manifests.InjectWebhook) }

// Without a right that part is unknown, and the rest is checked. A Secret that the user may not read is not a
// problem.
func TestStatusForbidden(t *testing.T) {
	for resource, want := range map[string]string{
		"configmaps":                  "you may not read ConfigMap openshift-pipelines/config-signing",
		"deployments":                 "you may not read Deployment tekton-sign/tekton-sign-controller",
		"namespaces":                  "you may not read namespace kube-system",
		"leases":                      "you may not read Lease",
		"clusterroles":                "clusterroles: you may not read them (tekton-sign-chains, ",
		"validatingadmissionpolicies": "validatingadmissionpolicies: you may not read them",
		"secrets":                     "",
	} {
		t.Run(resource, func(t *testing.T) {
			in := newInstalled(t, nil)
			in.forbid("get", resource)
			s := in.status(0)
			got := amiss(s.Checks)
			outcome := status.Unknown
			if want == "" {
				outcome = status.Healthy
			}
			if s.Outcome != outcome || !strings.Contains(got, want) {
				t.Errorf("got %s and\n%swant %s and %q", s.Outcome, got, outcome, want)
			}
			if s.Summary.Passed < 5 {
				t.Errorf("only %d checks passed", s.Summary.Passed)
			}
		})
	}
}

// What differs from the manifests of another version may belong to the version of the add-on.
func TestStatusOtherVersion(t *testing.T) {
	in := newInstalled(t, nil)
	look := func() *status.Status {
		s, err := Status(t.Context(), in.clients(), Options{Version: "v1.3.0", Now: func() time.Time { return in.now }})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := look(); s.Outcome != status.Warnings ||
		!strings.Contains(amiss(s.Checks), "warn version: the add-on is of another version than this plugin") {
		t.Errorf("got %s:\n%s", s.Outcome, amiss(s.Checks))
	}
	get[webhooks](in, manifests.StatusWebhook).Webhooks[0].TimeoutSeconds = new(int32(7))
	if s := look(); s.Outcome != status.Unknown ||
		!strings.Contains(amiss(s.Checks), "compared with version v1.3.0; the add-on is v1.2.3") {
		t.Errorf("got %s:\n%s", s.Outcome, amiss(s.Checks))
	}
}

func TestStatusUnreachable(t *testing.T) {
	in := newInstalled(t, nil)
	in.spoil = func(c fakeClients) {
		c.kube.PrependReactor("get", "version", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("connection refused")
		})
	}
	_, err := Status(t.Context(), in.clients(), Options{Now: time.Now})
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got error %v", err)
	}
}

// Checks are in the order of the parts, and those of a part in the order of the checkers.
func TestRun(t *testing.T) {
	named := func(part status.Part, id status.CheckID) Checker {
		return func(context.Context, *Cluster) []status.Check { return one(pass(part, id, "")) }
	}
	checks := Run(t.Context(), newInstalled(t, nil).read(), []Checker{
		named(status.PartTekton, status.CheckBackoff), named(status.PartAddOn, status.CheckLeader),
		CheckTekton, named(status.PartAddOn, status.CheckClock),
	})
	var got []status.CheckID
	for _, c := range checks {
		got = append(got, c.ID)
	}
	want := []status.CheckID{status.CheckLeader, status.CheckClock, status.CheckBackoff, status.CheckTekton}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
}
