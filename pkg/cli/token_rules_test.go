// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// otherSettings is what the API server of a cluster answers whose tokens have another audience and lifetime than
// the defaults, and whose Tekton is not where releases install it.
func otherSettings() map[string]string {
	return map[string]string{
		"/apis/apps/v1/deployments": `{"kind":"DeploymentList","apiVersion":"apps/v1","metadata":{},"items":[{"metadata":{` +
			`"name":"tekton-pipelines-controller","namespace":"openshift-pipelines"}}]}`,
		"/api/v1/namespaces/openshift-pipelines/configmaps/config-signing": `{"kind":"ConfigMap","apiVersion":"v1",` +
			`"metadata":{"name":"config-signing","namespace":"openshift-pipelines"},` +
			`"data":{"oidc-audience":"our-results","oidc-token-expiration-seconds":"1200"}}`,
	}
}

// changeTokens makes a token one of the cluster with otherSettings.
func changeTokens(claims map[string]any) {
	audience := claims["aud"].([]string)[0]
	claims["aud"] = []string{strings.Replace(audience, signing.AudiencePrefix, "our-results", 1)}
	claims["exp"] = claims["iat"].(int64) + 1200
}
