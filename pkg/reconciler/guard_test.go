// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// cluster is what the guard looks at.
type cluster struct {
	drift, probe error
	clock        time.Time
}

func (c *cluster) guard() *guard {
	return &guard{
		drift: func() error { return c.drift },
		probe: func(context.Context) error { return c.probe },
		now:   func() time.Time { return c.clock },
	}
}

func lookOften(t *testing.T, g *guard, times int) {
	t.Helper()
	for range times {
		g.examine(t.Context())
	}
}

func TestGuardGivesAfterRefusalsInARow(t *testing.T) {
	c := &cluster{}
	g := c.guard()
	lookOften(t, g, probesNeeded-1)
	if g.state != unknown {
		t.Fatalf("after %d refusals the state is %v, want unknown", probesNeeded-1, g.state)
	}
	c.probe = errors.New("connection refused")
	lookOften(t, g, 1)
	c.probe = nil
	lookOften(t, g, probesNeeded-1)
	if g.state != unknown {
		t.Errorf("refusals before a failure counted: state %v", g.state)
	}
	lookOften(t, g, 1)
	if g.state != inEffect {
		t.Errorf("after %d refusals in a row the state is %v, want inEffect", probesNeeded, g.state)
	}
}

// A first grant needs refusals since the last change, other grants stay as they are meanwhile.
func TestGuardGivesNothingNewAfterAChange(t *testing.T) {
	c := &cluster{}
	g := c.guard()
	lookOften(t, g, probesNeeded)
	if !g.ready() {
		t.Fatal("after refusals in a row no grant is given")
	}
	g.restart()
	lookOften(t, g, probesNeeded-1)
	if g.ready() || g.state != inEffect {
		t.Errorf("after a change: ready %v, state %v", g.ready(), g.state)
	}
	lookOften(t, g, 1)
	if !g.ready() {
		t.Error("after more refusals no grant is given")
	}
}

func TestGuardWithdraws(t *testing.T) {
	for name, c := range map[string]struct {
		then  func(*cluster)
		after time.Duration
		want  verdict
	}{
		"a token was handed out": {func(c *cluster) {
			c.probe = fmt.Errorf("probe: %w",
				&notRefusedError{"p", "a"})
		}, 0, fails},
		"the API server does not answer": {func(c *cluster) { c.probe = errors.New("timeout") }, 0, inEffect},
		"drift, just now":                {func(c *cluster) { c.drift = errors.New("policy is gone") }, 0, inEffect},
		"drift that lasts":               {func(c *cluster) { c.drift = errors.New("policy is gone") }, driftGrace, fails},
	} {
		t.Run(name, func(t *testing.T) {
			live := &cluster{clock: time.Unix(1000, 0)}
			g := live.guard()
			lookOften(t, g, probesNeeded)
			c.then(live)
			lookOften(t, g, 1)
			live.clock = live.clock.Add(c.after)
			lookOften(t, g, 1)
			if g.state != c.want {
				t.Errorf("state is %v (%v), want %v", g.state, g.reason, c.want)
			}
		})
	}
}

func TestProbeBelievesOnlyOurPolicies(t *testing.T) {
	denial := func(policy string) error {
		return fmt.Errorf(`serviceaccounts "policy-probe" is forbidden: ValidatingAdmissionPolicy '%s' with binding 'b' `+
			`denied request: no`, policy)
	}
	for name, c := range map[string]struct {
		signing, ordinary, pod error
		refuses, granted       bool
	}{
		"all refuse": {signing: denial(manifests.SigningTokens), ordinary: denial(manifests.TokenRequesters),
			pod: denial(manifests.PodTokens), refuses: true},
		"signing token handed out": {ordinary: denial(manifests.TokenRequesters), pod: denial(manifests.PodTokens),
			granted: true},
		"ordinary token handed out": {signing: denial(manifests.SigningTokens), pod: denial(manifests.PodTokens),
			granted: true},
		"pod's token handed out": {signing: denial(manifests.SigningTokens), ordinary: denial(manifests.TokenRequesters),
			granted: true},
		"only the pod is missing": {
			signing: denial(manifests.SigningTokens), ordinary: denial(manifests.TokenRequesters),
			pod: apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "policy-probe"), granted: true,
		},
		"refused by RBAC": {signing: errors.New("forbidden: cannot create serviceaccounts/token"),
			ordinary: denial(manifests.TokenRequesters)},
		"refused by another policy": {signing: denial("others"), ordinary: denial(manifests.TokenRequesters)},
		"policies swapped":          {signing: denial(manifests.TokenRequesters), ordinary: denial(manifests.SigningTokens)},
	} {
		t.Run(name, func(t *testing.T) {
			client, asked := fake.NewClientset(), []string{}
			client.PrependReactor("create", "serviceaccounts", func(action clienttesting.Action) (bool, runtime.Object, error) {
				request, ok := action.(clienttesting.CreateAction).GetObject().(*authenticationv1.TokenRequest)
				if !ok || len(request.Spec.Audiences) != 1 {
					t.Fatalf("unexpected request %+v", action)
				}
				asked = append(asked, request.Spec.Audiences[0])
				if bound := request.Spec.BoundObjectRef != nil; bound == (request.Spec.Audiences[0] == ordinaryAudience) {
					t.Errorf("audience %s: bound to a pod: %v", request.Spec.Audiences[0], bound)
				}
				switch request.Spec.Audiences[0] {
				case ordinaryAudience:
					return true, request, c.ordinary
				case podAudience:
					return true, request, c.pod
				}
				return true, request, c.signing
			})
			s := settings.Default()
			s.Binding = "audience"
			err := (&Probe{client: client}).Check(t.Context(), s)
			if (err == nil) != c.refuses {
				t.Errorf("got %v, want refuses=%v", err, c.refuses)
			}
			if c.refuses {
				const digest = "dGVrdG9uLXNpZ24gcHJvYmUsIG5vdCBhIGRpZ2VzdCE"
				want := []string{
					"tekton-result-signing:p:" + digest, "tekton-result-signing:k:" + digest, "tekton-result-signing",
					ordinaryAudience, podAudience,
				}
				if !slices.Equal(asked, want) {
					t.Errorf("asked for %q, want %q", asked, want)
				}
				asked = nil
				want = slices.Delete(want, 2, 3)
				if err := (&Probe{client: client}).Check(t.Context(), settings.Default()); err != nil ||
					!slices.Equal(asked, want) {
					t.Errorf("by default asked for %q with error %v, want %q", asked, err, want)
				}
			}
			var granted *notRefusedError
			if errors.As(err, &granted) != c.granted {
				t.Errorf("got %v, want it to say that a token was handed out: %v", err, c.granted)
			}
		})
	}
}

func TestGrantIsForTheNamespaceAlone(t *testing.T) {
	grant := manifests.Grant(signing.BackendOIDCSAToken, "ci", "fence")
	if len(grant.Subjects) != 1 || grant.Subjects[0].Name != "system:serviceaccounts:ci" || grant.Namespace != "ci" {
		t.Errorf("the grant of ci is for %v in %s", grant.Subjects, grant.Namespace)
	}
	edited := grant.DeepCopy()
	edited.Subjects[0].Name = "system:authenticated"
	if manifests.SameGrant(edited, grant) {
		t.Error("a grant for everybody counts as the grant")
	}
	if manifests.SameGrant(manifests.Grant(signing.BackendOIDCSAToken, "ci", "before"), grant) {
		t.Error("a grant that was given under other policies counts as the grant")
	}
	if !manifests.SameGrant(grant.DeepCopy(), grant) {
		t.Error("the grant does not count as itself")
	}
}

func TestLacksImageVolumes(t *testing.T) {
	node := func(kubelet, runtime string, change ...func(*corev1.Node)) *corev1.Node {
		n := &corev1.Node{}
		n.Name = "n"
		n.Status.NodeInfo = corev1.NodeSystemInfo{KubeletVersion: kubelet, ContainerRuntimeVersion: runtime,
			OperatingSystem: "linux"}
		for _, c := range change {
			c(n)
		}
		return n
	}
	good := node("v1.35.4", "containerd://2.4.2")
	windows := func(n *corev1.Node) { n.Status.NodeInfo.OperatingSystem = "windows" }
	cordoned := func(n *corev1.Node) { n.Spec.Unschedulable = true }
	for name, c := range map[string]struct {
		server string
		nodes  []*corev1.Node
		lacks  bool
	}{
		"containerd":              {"v1.35.4", []*corev1.Node{good}, false},
		"CRI-O":                   {"v1.35.0", []*corev1.Node{node("v1.35.0", "cri-o://1.33.0")}, false},
		"old API server":          {"v1.34.9", []*corev1.Node{good}, true},
		"old kubelet":             {"v1.35.4", []*corev1.Node{good, node("v1.34.1", "containerd://2.4.2")}, true},
		"old containerd":          {"v1.35.4", []*corev1.Node{node("v1.35.4", "containerd://2.0.5")}, true},
		"old CRI-O":               {"v1.35.4", []*corev1.Node{node("v1.35.4", "cri-o://1.32.9")}, true},
		"another runtime":         {"v1.35.4", []*corev1.Node{node("v1.35.4", "docker://28.0.0")}, true},
		"old node is cordoned":    {"v1.35.4", []*corev1.Node{good, node("v1.30.0", "containerd://1.7.0", cordoned)}, false},
		"Windows does not matter": {"v1.35.4", []*corev1.Node{good, node("v1.35.4", "containerd://1.7.0", windows)}, false},
		"no nodes":                {"v1.35.4", nil, true},
		"nonsense":                {"banana", []*corev1.Node{good}, true},
	} {
		if reason := delivery.LacksImageVolumes(c.server, c.nodes); (reason != "") != c.lacks {
			t.Errorf("%s: got %q, want lacks=%v", name, reason, c.lacks)
		}
	}
}
