// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/room"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// unknownRelease is an entrypoint whose controller may not read compressed messages.
const unknownRelease = "registry.example/tekton/entrypoint@sha256:00"

// withResult returns a Task with n steps that start a command, and one declared result.
func withResult(n int) v1.TaskSpec {
	spec := silent(n)
	spec.Results = []v1.TaskResult{{Name: "digest"}}
	return spec
}

// silent returns a Task with n steps that start a command.
func silent(n int) v1.TaskSpec {
	lines := make([][]string, n)
	for i := range lines {
		lines[i] = []string{"true"}
	}
	return commands(lines...)
}

func made(t *testing.T, image string, spec v1.TaskSpec, features map[string]string) *corev1.Pod {
	t.Helper()
	p := stockPod(t, features, "build", spec, nil)
	p.Spec.InitContainers[0].Image = image
	return p
}

// addContainer adds a container, as another webhook does.
func addContainer(p *corev1.Pod) {
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "proxy"})
}

func configOf(t *testing.T, p *corev1.Pod) step.Config {
	t.Helper()
	config, _, err := step.Parse(p.Spec.Containers[0].Args)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// TestBudget injects pods with every number of steps. Results that arrive without the signer must not be cut
// because of it.
func TestBudget(t *testing.T) {
	compressing := map[string]string{"enable-termination-message-compression": "true"}
	for name, c := range map[string]struct {
		image    string
		spec     v1.TaskSpec
		features map[string]string
		delivery Delivery
		share    int // 0 if the pod is not wrapped
		room     int
		may      bool // may compress
	}{
		"1 step, init":                        {unknownRelease, withResult(1), nil, DeliveryInit, 4096, 3072, false},
		"2 steps, image volume":               {unknownRelease, withResult(2), nil, DeliveryImage, 4096, 3072, false},
		"2 steps, init":                       {unknownRelease, withResult(2), nil, DeliveryInit, 0, 0, false},
		"2 steps, init, told to compress":     {unknownRelease, withResult(2), compressing, DeliveryInit, 3072, 2457, false},
		"2 steps, init, a release that reads": {releaseImage, withResult(2), nil, DeliveryInit, 3072, 2457, true},
		"2 silent steps, init":                {unknownRelease, silent(2), nil, DeliveryInit, 3072, 2457, false},
		"a script, init":                      {unknownRelease, scripts("a"), nil, DeliveryInit, 0, 0, false},
		"a script, image volume":              {unknownRelease, scripts("a"), nil, DeliveryImage, 4096, 3072, false},
		"4 steps, init":                       {releaseImage, withResult(4), nil, DeliveryInit, 2048, 1755, true},
		"step results, init": {unknownRelease, v1.TaskSpec{Steps: []v1.Step{
			{Image: "x", Command: []string{"true"}, Results: []v1.StepResult{{Name: "r"}}}, {Image: "x",
				Command: []string{"true"}},
		}}, nil, DeliveryInit, 0, 0, false},
		"by sidecar log, init": {unknownRelease, sidecarSpec(), sidecarFlags(), DeliveryInit, 2048, 1755, false},
	} {
		t.Run(name, func(t *testing.T) {
			stock := made(t, c.image, c.spec, c.features)
			got, err := Pod(stock, testOptions(c.delivery))
			if c.share == 0 {
				var skip *SkippedError
				if !errors.As(err, &skip) || got != stock || !strings.Contains(skip.Reason, "longer ones would be lost") {
					t.Fatalf("got %v, want the pod left alone for its results", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			config := configOf(t, got)
			if config.Share != c.share || config.Room != c.room || config.MayCompress != c.may {
				t.Errorf("share %d, room %d, may compress %v; want %d, %d, %v",
					config.Share, config.Room, config.MayCompress, c.share, c.room, c.may)
			}
		})
	}
}

// TestBudgetAgain lets another webhook add a container after the injection. If that would cut results, the
// pod becomes the stock pod again.
func TestBudgetAgain(t *testing.T) {
	for name, c := range map[string]struct {
		image    string
		delivery Delivery
		wrapped  bool
	}{
		"init":                     {unknownRelease, DeliveryInit, false},
		"init, compressed":         {releaseImage, DeliveryInit, true},
		"image volume":             {unknownRelease, DeliveryImage, true},
		"image volume, compressed": {releaseImage, DeliveryImage, true},
	} {
		t.Run(name, func(t *testing.T) {
			stock := made(t, c.image, withResult(1), nil)
			once, err := Pod(stock, testOptions(c.delivery))
			if err != nil {
				t.Fatal(err)
			}
			addContainer(once)
			before := once.DeepCopy()
			twice, err := Pod(once, testOptions(c.delivery))
			if diff := cmp.Diff(before, once); diff != "" {
				t.Errorf("the pod itself was changed (-before +after):\n%s", diff)
			}
			if c.wrapped {
				if err != nil || configOf(t, twice).Share != room.Share(containers(twice)) {
					t.Errorf("got %v, want the pod wrapped with its new share", err)
				}
				return
			}
			addContainer(stock)
			var skip *SkippedError
			if !errors.As(err, &skip) {
				t.Errorf("got %v, want a reason", err)
			}
			if diff := cmp.Diff(stock, twice); diff != "" {
				t.Errorf("not the stock pod again (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWrappedByAnotherWebhook lets another webhook put its own program before the signer, and add an init
// container. The signer must get its new share, or be removed.
func TestWrappedByAnotherWebhook(t *testing.T) {
	for name, wrap := range map[string]func(*corev1.Container){
		"in the arguments": func(c *corev1.Container) {
			c.Command, c.Args = []string{"/vault/env"}, append(c.Command, c.Args...)
		},
		"with a flag": func(c *corev1.Container) {
			c.Command, c.Args = []string{"/vault/env"}, append([]string{"-v", "--"}, append(c.Command, c.Args...)...)
		},
		"in the command": func(c *corev1.Container) { c.Command = append([]string{"/vault/env"}, c.Command...) },
		"as arguments":   func(c *corev1.Container) { c.Command, c.Args = nil, append(c.Command, c.Args...) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, image := range []string{releaseImage, unknownRelease} {
				stock := made(t, image, withResult(1), nil)
				got, err := Pod(stock, testOptions(DeliveryInit))
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range []*corev1.Pod{stock, got} {
					wrap(&p.Spec.Containers[0])
					p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: "vault"})
				}
				before := got.DeepCopy()
				again, err := Pod(got, testOptions(DeliveryInit))
				if image == unknownRelease {
					var skip *SkippedError
					if diff := cmp.Diff(stock, again, cmpopts.EquateEmpty()); !errors.As(err, &skip) || diff != "" {
						t.Errorf("got %v, want the stock pod (-want +got):\n%s", err, diff)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				line := func(p *corev1.Pod) string {
					return strings.Join(append(p.Spec.Containers[0].Command, p.Spec.Containers[0].Args...), " ")
				}
				want := strings.NewReplacer("-share 4096", "-share 3072", "-room 3072", "-room 2457").Replace(line(before))
				if diff := cmp.Diff(want, line(again)); diff != "" {
					t.Errorf("command line (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestSignerOfAStep checks that a step's own arguments never count as the signer, even if they look like it.
func TestSignerOfAStep(t *testing.T) {
	injected, err := Pod(made(t, releaseImage, withResult(1), nil), testOptions(DeliveryInit))
	if err != nil {
		t.Fatal(err)
	}
	line := append([]string{step.PodPath}, injected.Spec.Containers[0].Args...)
	stock := made(t, releaseImage, withResult(1), nil)
	c := &stock.Spec.Containers[0]
	c.Command, c.Args = []string{"/vault/env"}, slices.Concat(c.Command, c.Args, line)
	got, err := Pod(stock, testOptions(DeliveryInit))
	var skip *SkippedError
	if !errors.As(err, &skip) || got != stock {
		t.Errorf("got %v, want the pod left alone", err)
	}
}

// TestBudgetOfAnEarlierSigner checks that the signer of an earlier version gets no unknown flags.
func TestBudgetOfAnEarlierSigner(t *testing.T) {
	options := testOptions(DeliveryImage)
	options.Required = true
	injected, err := Pod(made(t, releaseImage, withResult(2), nil), options)
	if err != nil {
		t.Fatal(err)
	}
	if !configOf(t, injected).Required {
		t.Error("the signer does not know that evidence is required")
	}
	for i := range injected.Spec.Containers {
		c := &injected.Spec.Containers[i]
		config, command, err := step.Parse(c.Args)
		if err != nil {
			t.Fatal(err)
		}
		config.Room, config.MayCompress, config.Required = 0, false, false
		c.Args = config.Args(command)
	}
	addContainer(injected)
	again, err := Pod(injected, options)
	if err != nil {
		t.Fatal(err)
	}
	if got := configOf(t, again); got.Room != 0 || got.MayCompress || got.Required || got.Share != 3072 {
		t.Errorf("got %+v, want nothing new but the share", got)
	}
}

func TestReadsCompressed(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0a", 32)
	for image, want := range map[string]bool{
		releaseImage: true,
		"ghcr.io/tektoncd/pipeline/entrypoint-bff0a22:v1.13.0":   true,
		"mirror.example:5000/tekton/entrypoint:v1.20.3" + digest: true,
		"localhost/tekton/entrypoint:v1.15.0":                    true,
		"ghcr.io/tektoncd/pipeline/entrypoint-bff0a22:v1.12.9":   false,
		"ghcr.io/tektoncd/pipeline/entrypoint-bff0a22:v0.68.0":   false,
		"ghcr.io/tektoncd/pipeline/entrypoint-bff0a22:v1.15":     false,
		"ghcr.io/tektoncd/pipeline/entrypoint-bff0a22" + digest:  false,
		"ghcr.io/tektoncd/pipeline/nop:v1.15.0":                  false,
		"registry.example/my-entrypoint:v1.15.0":                 false,
		"registry.example/entrypoint:v1.15.0/x":                  false,
		"registry.example/entrypoint:latest":                     false,
		"":                                                       false,
	} {
		p := &corev1.Pod{Spec: corev1.PodSpec{InitContainers: []corev1.Container{{Name: prepareName, Image: image}}}}
		if got := readsCompressed(p); got != want {
			t.Errorf("%q: got %v, want %v", image, got, want)
		}
	}
	if readsCompressed(&corev1.Pod{}) {
		t.Error("a pod without Tekton's init container is taken for one of a release")
	}
}

// maxReason is how long a reason may be to fit into a warning of the webhook.
const maxReason = 250 - len("tekton-sign: this pod will not sign: ")

// ordinary returns the form of the tokens in a kubeadm cluster.
func ordinary() TokenForm {
	return TokenForm{Issuer: "https://kubernetes.default.svc.cluster.local", KeyID: 43, Signature: 342}
}

// TestEvidenceThatCannotFit checks that evidence that cannot fit is reported when the pod is made, with
// advice.
func TestEvidenceThatCannotFit(t *testing.T) {
	for name, c := range map[string]struct {
		image    string
		steps    int
		delivery Delivery
		reason   string // empty if it fits
		without  string // advice that would not help
	}{
		"7 steps": {unknownRelease, 7, DeliveryImage, "", ""},
		"8 steps": {
			unknownRelease, 8, DeliveryImage, "9 containers leave each message 1365; have at most 8", byImageVolume,
		},
		"8 steps, compression": {releaseImage, 8, DeliveryImage, "", ""},
		"7 steps, init":        {unknownRelease, 7, DeliveryInit, byImageVolume, ""},
		"9 steps, compression": {
			releaseImage, 9, DeliveryImage, "10 containers leave each message 1228; have at most 9", byCompression,
		},
		"8 steps, init, compression": {releaseImage, 8, DeliveryInit, byImageVolume, byCompression},
	} {
		t.Run(name, func(t *testing.T) {
			options := testOptions(c.delivery)
			options.Tokens = ordinary()
			stock := made(t, c.image, silent(c.steps), nil)
			stock.Namespace = "production"
			_, err := Pod(stock, options)
			var skip *SkippedError
			switch {
			case c.reason == "" && err != nil:
				t.Errorf("got %v, want it wrapped", err)
			case c.reason == "":
			case !errors.As(err, &skip) || !strings.Contains(skip.Reason, c.reason):
				t.Errorf("got %v, want the reason %q", err, c.reason)
			case c.without != "" && strings.Contains(skip.Reason, c.without):
				t.Errorf("%q would not help: %v", c.without, err)
			case len(skip.Reason) > maxReason:
				t.Errorf("the reason does not fit into a warning: %d characters", len(skip.Reason))
			}
		})
	}
}

// TestEvidenceSize compares the estimate with measured tokens of real clusters. It must not be larger by more
// than the length of a node's name.
func TestEvidenceSize(t *testing.T) {
	p := stockPod(t, nil, "eight", silent(1), nil)
	p.Namespace, p.Spec.ServiceAccountName = "min-12", ""
	options := testOptions(DeliveryImage).Step
	sizes := map[string]int{}
	for _, binding := range []signing.Binding{signing.BindingPayload, signing.BindingKey, signing.BindingAudience} {
		options.Binding = binding
		sizes[string(binding)] = evidenceSize(p, options, ordinary())
	}
	want := map[string]int{"payload": 1370, "key": 1673, "audience": 1612}
	if diff := cmp.Diff(want, sizes); diff != "" {
		t.Errorf("bytes of evidence (-want +got):\n%s", diff)
	}
	if got := evidenceSize(p, options, TokenForm{}); got != 0 {
		t.Errorf("got %d bytes for tokens that are not known, want none", got)
	}
}

// TestTableOfShares checks the table in docs/how-it-works.md.
func TestTableOfShares(t *testing.T) {
	var got []string
	for n := 2; n <= 12; n++ {
		b := budget{containers: n, own: 1}
		got = append(got, fmt.Sprintf("%d: %d %d %v", n, b.share(), b.room(), b.lowered()))
	}
	want := []string{
		"2: 4096 4096 false", "3: 4096 3072 false", "4: 3072 2457 true", "5: 2457 2048 true", "6: 2048 1755 true",
		"7: 1755 1536 true",
		"8: 1536 1365 true", "9: 1365 1228 true", "10: 1228 1117 true", "11: 1117 1024 true", "12: 1024 945 true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("containers: share, room, lowered by init (-want +got):\n%s", diff)
	}
}
