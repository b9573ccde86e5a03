// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Grant returns the RoleBinding that gives a namespace the right to request tokens: all of its service accounts, because any of
// them may run a TaskRun.
func Grant(namespace string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: TokenRequester,
			Labels: map[string]string{"app.kubernetes.io/name": "token-requester", LabelPartOf: PartOf},
		},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: TokenRequester},
		Subjects: []rbacv1.Subject{{
			APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:" + namespace,
		}},
	}
}

// SameGrant reports whether live gives what grant does, no less and no more, and is found by its label.
func SameGrant(live, grant *rbacv1.RoleBinding) bool {
	return live.RoleRef == grant.RoleRef && equality.Semantic.DeepEqual(live.Subjects, grant.Subjects) &&
		live.Labels[LabelPartOf] == PartOf
}
