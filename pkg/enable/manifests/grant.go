// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// AnnotationFence is the annotation of a grant that names the policies under which it was made: see FenceVersion.
const AnnotationFence = "tekton-sign.dev/fence"

// Grant returns the RoleBinding whose age shows since when the policies protect a namespace. fence is the FenceVersion
// of the policies that were seen to be in effect. If steps sign with tokens, the RoleBinding gives the right to request
// them to all service accounts of the namespace: any of them may run a TaskRun. Otherwise it has no subjects and gives
// no right.
func Grant(backend signing.Backend, namespace, fence string) *rbacv1.RoleBinding {
	grant := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: TokenRequester,
			Labels:      map[string]string{"app.kubernetes.io/name": "token-requester", LabelPartOf: PartOf},
			Annotations: map[string]string{AnnotationFence: fence},
		},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: TokenRequester},
	}
	if backends.Of(backend).Tokens {
		grant.Subjects = allAccounts(namespace)
	}
	return grant
}

func allAccounts(namespace string) []rbacv1.Subject {
	return []rbacv1.Subject{{
		APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + namespace,
	}}
}

// GrantInstead returns what Grant returns, for a namespace that has the RoleBinding live; nil if none. After a switch
// to a backend whose steps sign without tokens, the right to request them stays: pods that were made before still sign
// with tokens, and the policies confine it in the same way.
func GrantInstead(live *rbacv1.RoleBinding, backend signing.Backend, namespace, fence string) *rbacv1.RoleBinding {
	grant := Grant(backend, namespace, fence)
	if live != nil && backends.Of(backend).Signs && equality.Semantic.DeepEqual(live.Subjects, allAccounts(namespace)) {
		grant.Subjects = live.Subjects
	}
	return grant
}

// SameGrant reports whether live gives the same rights as grant, no less and no more, and has its label.
func SameGrant(live, grant *rbacv1.RoleBinding) bool {
	return live.RoleRef == grant.RoleRef && equality.Semantic.DeepEqual(live.Subjects, grant.Subjects) &&
		live.Labels[LabelPartOf] == PartOf && live.Annotations[AnnotationFence] == grant.Annotations[AnnotationFence]
}

// FenceVersion identifies the policies of FencePolicies in this version of tekton-sign, apart from what the settings
// change in them. A grant that was made under other policies does not count until these were seen to be in
// effect.
func FenceVersion() (string, error) {
	all, err := RenderPolicies(Options{TektonNamespace: stockNamespace, Settings: settings.Default()})
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, policy := range all.OfFence().Policies {
		if err := json.NewEncoder(sum).Encode(policy.Spec); err != nil {
			return "", fmt.Errorf("encoding policy %s: %w", policy.Name, err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:fenceDigits], nil
}

// fenceDigits is how many digits of a digest are enough to distinguish versions.
const fenceDigits = 16
