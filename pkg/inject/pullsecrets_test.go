// SPDX-License-Identifier: Apache-2.0

package inject

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
)

// TestPullSecrets checks that a pod keeps its own pull secrets, gets the missing ones once, and loses only
// these when it is unwrapped.
func TestPullSecrets(t *testing.T) {
	secrets := func(names ...string) (list []corev1.LocalObjectReference) {
		for _, name := range names {
			list = append(list, corev1.LocalObjectReference{Name: name})
		}
		return list
	}
	for name, tc := range map[string]struct {
		own, add, want []string
	}{
		"none":        {nil, nil, nil},
		"its own":     {[]string{"a"}, nil, []string{"a"}},
		"add":         {nil, []string{"m", "n"}, []string{"m", "n"}},
		"both":        {[]string{"a", "m"}, []string{"m", "n"}, []string{"a", "m", "n"}},
		"all its own": {[]string{"m"}, []string{"m"}, []string{"m"}},
	} {
		t.Run(name, func(t *testing.T) {
			stock := stockPod(t, nil, "build", scripts("build"), nil)
			stock.Spec.ImagePullSecrets = secrets(tc.own...)
			forged := stock.DeepCopy()
			forged.Annotations[pullSecretsAnnotation] = "a"
			options := testOptions(DeliveryImage)
			options.PullSecrets = tc.add
			injected, err := Pod(forged, options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(secrets(tc.want...), injected.Spec.ImagePullSecrets); diff != "" {
				t.Errorf("pull secrets (-want +got):\n%s", diff)
			}
			again, err := Pod(injected, options)
			if diff := cmp.Diff(injected, again); diff != "" || err != nil {
				t.Errorf("again: %v\n%s", err, diff)
			}
			steps, err := stepsOf(injected)
			if err != nil {
				t.Fatal(err)
			}
			unwrapPod(injected, steps)
			if diff := cmp.Diff(stock, injected, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("unwrapped (-stock +got):\n%s", diff)
			}
		})
	}
}
