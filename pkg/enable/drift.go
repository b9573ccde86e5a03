// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"context"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
)

// Drift compares the cluster with the installation that r asks for and says, in a sentence each and in the order of the
// manifests, what is missing or was changed in a way that matters: policies and their bindings, webhooks, and what RBAC gives.
// The settings of r are taken as they are. An object that the user may not read is an error.
func Drift(ctx context.Context, c Clients, env Environment, r Request) ([]string, error) {
	objects, err := manifests.Render(r.options(env))
	if err != nil {
		return nil, err
	}
	var drift []string
	for _, want := range objects {
		got, err := c.liveOf(ctx, want)
		if err != nil {
			return nil, err
		}
		drift = append(drift, manifests.Differences(want, got)...)
	}
	return drift, nil
}

// liveOf returns the cluster's state of an object, in the same type; nil if there is none.
func (c Clients) liveOf(ctx context.Context, object runtime.Object) (runtime.Object, error) {
	wanted, err := toUnstructured(object)
	if err != nil {
		return nil, err
	}
	stored, err := resourceOf(c.Dynamic, wanted).Get(ctx, wanted.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", describe(wanted), err)
	}
	live, ok := reflect.New(reflect.TypeOf(object).Elem()).Interface().(runtime.Object)
	if !ok {
		return nil, fmt.Errorf("reading %s: %T is no object", describe(wanted), object)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(stored.Object, live); err != nil {
		return nil, fmt.Errorf("reading %s: %w", describe(wanted), err)
	}
	return live, nil
}
