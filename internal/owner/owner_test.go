// SPDX-License-Identifier: Apache-2.0

package owner

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestController(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		ref  metav1.OwnerReference
		want bool
	}{
		"Tekton's": {
			metav1.OwnerReference{APIVersion: "tekton.dev/v1", Kind: "TaskRun", UID: "u", Controller: &yes}, true,
		},
		"of an older API": {
			metav1.OwnerReference{APIVersion: "tekton.dev/v1beta1", Kind: "TaskRun", UID: "u", Controller: &yes}, true,
		},
		"of another group": {
			metav1.OwnerReference{APIVersion: "evil.dev/v1", Kind: "TaskRun", UID: "u", Controller: &yes}, false,
		},
		"of a group like it": {
			metav1.OwnerReference{APIVersion: "tekton.dev.evil/v1", Kind: "TaskRun", UID: "u", Controller: &yes}, false,
		},
		"of no group": {metav1.OwnerReference{APIVersion: "v1", Kind: "TaskRun", UID: "u", Controller: &yes}, false},
		"of another kind": {
			metav1.OwnerReference{APIVersion: "tekton.dev/v1", Kind: "Thing", UID: "u", Controller: &yes}, false,
		},
		"no controller": {
			metav1.OwnerReference{APIVersion: "tekton.dev/v1", Kind: "TaskRun", UID: "u", Controller: &no}, false,
		},
		"a slash too many": {
			metav1.OwnerReference{APIVersion: "tekton.dev/v1/x", Kind: "TaskRun", UID: "u", Controller: &yes}, false,
		},
	} {
		got := Controller(&metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{c.ref}}, TaskRun)
		if (got != nil) != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
