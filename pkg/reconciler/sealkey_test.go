// SPDX-License-Identifier: Apache-2.0

package reconciler

import (
	"bytes"
	"errors"
	"testing"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	corelisters "k8s.io/client-go/listers/core/v1"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"knative.dev/pkg/controller"
	pkgreconciler "knative.dev/pkg/reconciler"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/seal"
)

func TestSealKey(t *testing.T) {
	good := bytes.Repeat([]byte("0123456789abcdef"), 2)
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, manifests.SealKeySecret,
		errors.New("changed"))
	for name, test := range map[string]struct {
		data   map[string][]byte
		absent bool
		follow bool // another replica leads
		err    error
		want   int // writes
	}{
		"empty, as enable brings it": {want: 1},
		"good":                       {data: map[string][]byte{seal.SecretKey: good}},
		"too short":                  {data: map[string][]byte{seal.SecretKey: good[:31]}, want: 1},
		"all the same":               {data: map[string][]byte{seal.SecretKey: make([]byte, seal.KeyBytes)}, want: 1},
		"absent":                     {absent: true},
		"another replica leads":      {follow: true, want: 1},
		"somebody was faster":        {err: conflict, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			secret := &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: manifests.Namespace, Name: manifests.SealKeySecret, ResourceVersion: "7"},
				Data:       test.data,
			}
			client, index := fake.NewClientset(), cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
			if !test.absent {
				client = fake.NewClientset(secret)
				if err := index.Add(secret); err != nil {
					t.Fatal(err)
				}
			}
			var written []*corev1.Secret
			client.PrependReactor("update", "secrets", func(a clienttesting.Action) (bool, runtime.Object, error) {
				written = append(written, a.(clienttesting.UpdateAction).GetObject().(*corev1.Secret))
				return true, secret, test.err
			})
			k := NewSealKey(client, corelisters.NewSecretLister(index), zap.NewNop().Sugar())
			if !test.follow {
				if err := k.Promote(pkgreconciler.UniversalBucket(), func(_ pkgreconciler.Bucket, key types.NamespacedName) {
					if key != k.Key() {
						t.Errorf("expected %s, got %s", k.Key(), key)
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			err := k.Reconcile(t.Context(), k.Key().String())
			if again, _ := controller.IsRequeueKey(err); err != nil && !again && !controller.IsSkipKey(err) {
				t.Fatal(err)
			}
			if len(written) != test.want {
				t.Fatalf("expected %d writes, got %d", test.want, len(written))
			}
			for _, s := range written {
				if _, err := seal.ParseKey(s.Data[seal.SecretKey]); err != nil || s.ResourceVersion != "7" {
					t.Errorf("wrote %v at version %s: %v", s.Data, s.ResourceVersion, err)
				}
			}
		})
	}
}
