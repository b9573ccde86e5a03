// SPDX-License-Identifier: Apache-2.0

package tekton

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

const (
	fieldManager = "tekton-sign-lab"
	pollInterval = 200 * time.Millisecond
)

// Apply creates or updates objects by server-side apply, in their order.
func Apply(ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured) error {
	return each(config, objects, func(client dynamic.ResourceInterface, object *unstructured.Unstructured) error {
		_, err := client.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		return err
	})
}

// Delete deletes objects, in the same order, and returns when they are gone.
func Delete(ctx context.Context, config *rest.Config, objects []*unstructured.Unstructured) error {
	return each(config, objects, func(client dynamic.ResourceInterface, object *unstructured.Unstructured) error {
		err := client.Delete(ctx, object.GetName(), metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		return wait.PollUntilContextCancel(ctx, pollInterval, true, func(ctx context.Context) (bool, error) {
			_, err := client.Get(ctx, object.GetName(), metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return true, nil
			}
			return false, err
		})
	})
}

// each does something to each object, with the client of its resource and namespace.
func each(
	config *rest.Config, objects []*unstructured.Unstructured,
	do func(dynamic.ResourceInterface, *unstructured.Unstructured) error,
) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	discoverer, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	groups, err := restmapper.GetAPIGroupResources(discoverer)
	if err != nil {
		return fmt.Errorf("list the kinds of the cluster: %w", err)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	for _, object := range objects {
		resource, err := resourceOf(client, mapper, object)
		if err == nil {
			err = do(resource, object)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}

func resourceOf(
	client dynamic.Interface, mapper meta.RESTMapper, object *unstructured.Unstructured,
) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return client.Resource(mapping.Resource).Namespace(object.GetNamespace()), nil
	}
	return client.Resource(mapping.Resource), nil
}

// AwaitDeployments returns when each named Deployment of a namespace has an available replica.
func AwaitDeployments(ctx context.Context, config *rest.Config, namespace string, names ...string) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	deployments := client.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"})
	for _, name := range names {
		ready := func(ctx context.Context) (bool, error) {
			object, err := deployments.Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return false, nil //nolint:nilerr // tried again until the time is up
			}
			available, _, err := unstructured.NestedInt64(object.Object, "status", "availableReplicas")
			return available > 0, err
		}
		if err := wait.PollUntilContextCancel(ctx, pollInterval, true, ready); err != nil {
			return fmt.Errorf("wait for the deployment %s: %w", name, err)
		}
	}
	return nil
}

// AwaitWebhook returns when Tekton's admission webhook answers. A Deployment being available is not enough: the
// webhook is called only after its rules and its certificate are in its configuration. Therefore a TaskRun is created
// as a dry run, until one comes back with the defaults that the webhook sets.
func AwaitWebhook(ctx context.Context, config *rest.Config) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	taskRuns := client.Resource(schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "taskruns"})
	var last error
	answered := func(ctx context.Context) (bool, error) {
		created, err := taskRuns.Namespace("default").Create(ctx, probeTaskRun(),
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if last = err; err != nil {
			return false, nil //nolint:nilerr // tried again until the time is up
		}
		account, _, err := unstructured.NestedString(created.Object, "spec", "serviceAccountName")
		return account != "", err
	}
	if err := wait.PollUntilContextCancel(ctx, pollInterval, true, answered); err != nil {
		return fmt.Errorf("wait for tekton's webhook: %w: %w", err, last)
	}
	return nil
}

func probeTaskRun() *unstructured.Unstructured {
	step := map[string]any{"name": "probe", "image": "probe", "command": []any{"true"}}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "tekton.dev/v1",
		"kind":       "TaskRun",
		"metadata":   map[string]any{"generateName": "probe-", "namespace": "default"},
		"spec":       map[string]any{"taskSpec": map[string]any{"steps": []any{step}}},
	}}
}
