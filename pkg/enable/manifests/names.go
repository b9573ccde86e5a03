// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// The label by which every object of tekton-sign is found, but for ConfigMap config-signing, which is found by its name: one that
// the user made before bears no label of ours.
const (
	LabelPartOf = "app.kubernetes.io/part-of"
	PartOf      = "tekton-sign"
)

// LabelVersion is the label of the Deployment that holds the version of tekton-sign.
const LabelVersion = "app.kubernetes.io/version"

// EventNotRecorded is the reason of the event that the add-on sends of a TaskRun for whose verdict or record there is no room.
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
	SigningTokens     = "tekton-sign-signing-tokens"  // policy and binding: who may obtain a signing token
	TokenRequesters   = "tekton-sign-token-requesters"
	PodTokens         = "tekton-sign-pod-tokens"         // who may obtain a token that is bound to a pod
	PodTokensProbe    = "tekton-sign-pod-tokens-probe"   // binds policy PodTokens in the add-on's own namespace
	GrantsGuard       = "tekton-sign-grants"             // what the add-on itself may grant
	WebhooksGuard     = "tekton-sign-webhooks"           // what it may write into webhook configurations
	DryRunsGuard      = "tekton-sign-dry-runs"           // what pods it may create, and the ClusterRole that lets it, with its binding
	UnstartedGuard    = "tekton-sign-unstarted-pods"     // what pods it may delete, and the ClusterRole that lets it, with its binding
	TaskRunPodMarks   = "tekton-sign-taskrun-pod-marks"  // who may mark a pod as that of a TaskRun
	TaskRunPods       = "tekton-sign-taskrun-pods"       // who may name one so, and change its images
	TaskRunPodAccess  = "tekton-sign-taskrun-pod-access" // who may get into it
	TaskRunStatus     = "tekton-sign-taskrun-status"     // who may write taskruns/status
	PipelineChildren  = "tekton-sign-pipeline-children"  // who may make a part of a PipelineRun
	PipelineStatus    = "tekton-sign-pipeline-status"    // who may write pipelineruns/status and customruns/status
	ManagedBy         = "tekton-sign-managed-by"         // whose controllers may run TaskRuns and PipelineRuns
	EnforcementGuard  = "tekton-sign-enforcement"        // who may take a namespace out of enforcement
	SettingsGuard     = "tekton-sign-settings"           // what ConfigMap config-signing may hold
	InjectWebhook     = "tekton-sign-inject"             // configuration of the webhook for pods
	StatusWebhook     = "tekton-sign-status"             // configuration of the webhook for taskruns/status
	ConsumersWebhook  = "tekton-sign-consumers"          // configuration of the webhook for children of PipelineRuns
)

// ObsoleteBindings are the names of policies' bindings that earlier versions installed.
func ObsoleteBindings() []string { return []string{"tekton-sign-token-requesters-probe"} }

// WebhookConfigurations are the names of the webhook configurations of an installation.
func WebhookConfigurations() []string {
	return []string{InjectWebhook, StatusWebhook, ConsumersWebhook, ChainsGate}
}

// WebhookConfigurationsOf are those of a backend.
func WebhookConfigurationsOf(backend signing.Backend) []string {
	return slices.DeleteFunc(WebhookConfigurations(), func(name string) bool {
		return name == InjectWebhook && !backends.Of(backend).Signs
	})
}

// WebhookHost is the name by which API servers call the add-on's webhooks.
const WebhookHost = Controller + "." + Namespace + ".svc"

// TektonAccount is the service account of Tekton's controller in every release.
const TektonAccount = "tekton-pipelines-controller"

// ChainsGate is the name of what the gate in front of Tekton Chains needs: policy, binding, ClusterRole and its binding, and the
// configuration of its webhooks.
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
	EnvSignerImage     = "SIGNER_IMAGE"           // reference of the image that holds the signer as /signer
)
