// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	spirecluster "github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/cluster"
)

// Objects returns the objects of other controllers by which TaskRuns are registered in the namespaces: those that the
// settings ask for, and those that only other settings do.
func Objects(s settings.Settings, namespaces *metav1.LabelSelector) (wanted, unneeded []runtime.Object, err error) {
	for _, d := range All() {
		if d.Objects == nil {
			continue
		}
		objects, ok, err := d.Objects(s, namespaces)
		switch {
		case err != nil:
			return nil, nil, err
		case ok:
			wanted = append(wanted, objects...)
		default:
			unneeded = append(unneeded, objects...)
		}
	}
	return wanted, unneeded, nil
}

// Kinds returns the kinds of such objects.
func Kinds() []schema.GroupVersionKind {
	var kinds []schema.GroupVersionKind
	for _, d := range All() {
		if d.Objects != nil {
			kinds = append(kinds, d.Kind)
		}
	}
	return kinds
}

// CheckObjects checks that the cluster knows the objects that the settings ask for.
func CheckObjects(ctx context.Context, objects dynamic.Interface, s settings.Settings) cluster.Finding {
	return spirecluster.CheckManager(ctx, objects, s)
}
