// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/delivery"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// exceptions is ConfigMap delivery with these keys.
func exceptions(t *testing.T, entries map[string]delivery.Exception) *corev1.ConfigMap {
	t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: manifests.Namespace, Name: delivery.ConfigMapName}, Data: map[string]string{}}
	for key, e := range entries {
		e.Since = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		value, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		cm.Data[key] = string(value)
	}
	return cm
}

// TestStatusExceptions: a namespace to which the signer does not get is named with the reason and the way out.
func TestStatusExceptions(t *testing.T) {
	none := delivery.Exception{Delivery: delivery.None, Reason: "ErrImagePull: 401", Image: testSigner}
	byInit := delivery.Exception{Delivery: settings.DeliveryInit, Reason: "no image volumes", Image: testSigner}
	another := none
	another.Image = "reg.example/signer:v0"
	for name, tc := range map[string]struct {
		key     string
		e       delivery.Exception
		outcome status.Outcome
		want    string
	}{
		"a pod did not start":            {"ci.start", none, status.Broken, "delivery Namespace ci: TaskRuns run unsigned, since 2026-01-02T03:04:05Z: a pod could not start because of the signer's image " + testSigner},
		"its reason":                     {"ci.start", none, status.Broken, "got none: ErrImagePull: 401"},
		"a pod did not start in enforce": {"release.start", none, status.Healthy, ""},
		"another delivery":               {"ci.trial", byInit, status.Warnings, "delivered otherwise than the settings ask"},
		"refused in enforce":             {"release.trial", none, status.Broken, "TaskRuns are refused"},
		"found with another image":       {"ci.start", another, status.Healthy, ""},
		"out of scope":                   {"other.start", none, status.Healthy, ""},
		"what cannot be read":            {"ci.start", delivery.Exception{}, status.Warnings, "what the add-on does not read: key ci.start"},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInstalled(t, nil)
			in.add(exceptions(t, map[string]delivery.Exception{tc.key: tc.e}))
			s := in.status(0)
			if got := amiss(s); s.Outcome != tc.outcome || !strings.Contains(got, tc.want) {
				t.Errorf("got %s and\n%swant %s and %q", s.Outcome, got, tc.outcome, tc.want)
			}
			for _, check := range s.Checks {
				if check.ID == status.CheckDelivery && check.Next == "" {
					t.Errorf("no next step: %+v", check)
				}
			}
		})
	}
}
