// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// The label by which every object of tekton-sign is found, except ConfigMap config-signing, which is found by its
// name: one that the user has created before does not have the label.
const (
	LabelPartOf = "app.kubernetes.io/part-of"
	PartOf      = "tekton-sign"
)

// Selector selects all objects with that label.
const Selector = LabelPartOf + "=" + PartOf

// LabelVersion is the label of the Deployment that holds the version of tekton-sign.
const LabelVersion = "app.kubernetes.io/version"

// EventNotRecorded is the reason of the event about a TaskRun that has no room for a verdict or a record.
const EventNotRecorded = "TaskRunResultsCannotBeRecorded"

// Names of the objects in config/ that code refers to.
const (
	Namespace         = settings.Namespace
	Controller        = "tekton-sign-controller"      // Deployment, Service, ClusterRole and its binding
	Keeper            = "tekton-sign-keeper"          // Deployment, ClusterRole and its binding
	ServiceAccount    = "controller"                  // the identity of Controller
	KeeperAccount     = "keeper"                      // the identity of Keeper
	ProbeAccount      = "policy-probe"                // the service account whose tokens the probe asks for
	CertificateSecret = "webhook-certificate"         // #nosec G101 -- the name of a Secret
	SealKeySecret     = "seal-key"                    // #nosec G101 -- the name of a Secret
	TokenRequester    = "tekton-sign-token-requester" // ClusterRole, and the RoleBinding in each namespace in scope
	SidecarLogs       = "tekton-sign-sidecar-logs"    // ClusterRole and its binding
	VolumeMounts      = "tekton-sign-volume-mounts"   // ClusterRole and its binding
	SigningTokens     = "tekton-sign-signing-tokens"  // policy and binding: who may obtain a signing token
	TokenRequesters   = "tekton-sign-token-requesters"
	PodTokens         = "tekton-sign-pod-tokens"         // who may obtain a token that is bound to a pod
	PodTokensProbe    = "tekton-sign-pod-tokens-probe"   // binds policy PodTokens in the add-on's own namespace
	GrantsGuard       = "tekton-sign-grants"             // what the add-on itself may grant
	WebhooksGuard     = "tekton-sign-webhooks"           // what the add-on may write into webhook configurations
	DryRunsGuard      = "tekton-sign-dry-runs"           // which pods the add-on may create, and its ClusterRole
	UnstartedGuard    = "tekton-sign-unstarted-pods"     // which pods the add-on may delete, and its ClusterRole
	TaskRunPodMarks   = "tekton-sign-taskrun-pod-marks"  // who may mark a pod as that of a TaskRun
	TaskRunPods       = "tekton-sign-taskrun-pods"       // who may create a pod with such a name, and change its images
	TaskRunPodAccess  = "tekton-sign-taskrun-pod-access" // who may run commands in such a pod
	TaskRunStatus     = "tekton-sign-taskrun-status"     // who may write taskruns/status
	PipelineChildren  = "tekton-sign-pipeline-children"  // who may create a child of a PipelineRun
	PipelineStatus    = "tekton-sign-pipeline-status"    // who may write pipelineruns/status and customruns/status
	ManagedBy         = "tekton-sign-managed-by"         // whose controllers may run TaskRuns and PipelineRuns
	EnforcementGuard  = "tekton-sign-enforcement"        // who may take a namespace out of enforcement
	SettingsGuard     = "tekton-sign-settings"           // what ConfigMap config-signing may hold
	InjectWebhook     = "tekton-sign-inject"             // configuration of the webhook for pods
	StatusWebhook     = "tekton-sign-status"             // configuration of the webhook for taskruns/status
	ConsumersWebhook  = "tekton-sign-consumers"          // configuration of the webhook for children of PipelineRuns
)

// ObsoleteBindings are the names of bindings that only earlier versions installed.
func ObsoleteBindings() []string { return []string{"tekton-sign-token-requesters-probe"} }

// WebhookConfigurations are the names of the webhook configurations of an installation.
func WebhookConfigurations() []string {
	return []string{InjectWebhook, StatusWebhook, ConsumersWebhook, ChainsGate}
}

// WebhookConfigurationsOf are the names of the webhook configurations that a backend needs.
func WebhookConfigurationsOf(backend signing.Backend) []string {
	return slices.DeleteFunc(WebhookConfigurations(), func(name string) bool { return !needs(backend, name) })
}

// needs reports whether a backend needs the object with this name. One that cannot be enabled is not asked.
func needs(backend signing.Backend, name string) bool {
	b := backends.Of(backend)
	switch name {
	case InjectWebhook, TokenRequester: // the role is also for pods that were made before a switch of the backend
		return b.Signs || !b.Enabled
	}
	return true
}

// WebhookHost is the name by which API servers call the add-on's webhooks.
const WebhookHost = Controller + "." + Namespace + ".svc"

// TektonAccount is the service account of Tekton's controller in every release.
const TektonAccount = "tekton-pipelines-controller"

// ChainsGate is the name of the objects of the gate in front of Tekton Chains: policy, binding, ClusterRole and its
// binding, and the configuration of its webhooks.
const ChainsGate = "tekton-sign-chains"

// Names of the webhooks in the configurations: one for the namespaces of each enforcement mode, where the modes differ.
const (
	ChainsHold    = "hold.chains.tekton-sign.dev"
	ChainsAudit   = "complete-audit.chains.tekton-sign.dev"
	ChainsEnforce = "complete-enforce.chains.tekton-sign.dev"
	Consumers     = "consumers.tekton-sign.dev"
	InjectAudit   = "inject-audit.tekton-sign.dev"
	InjectEnforce = "inject-enforce.tekton-sign.dev"
	StatusAudit   = "status-audit.tekton-sign.dev"
	StatusEnforce = "status-enforce.tekton-sign.dev"
)

// The environment variables of the add-on.
const (
	EnvPodName         = "POD_NAME"
	EnvPodUID          = "POD_UID"
	EnvTektonNamespace = "TEKTON_NAMESPACE"
	EnvTektonAccount   = "TEKTON_SERVICE_ACCOUNT" // that of Tekton's controller
	EnvSignerImage     = "SIGNER_IMAGE"           // the image with the signer at step.ImagePath
)
