package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Consumer is a workload that reads a Secret.
type Consumer struct {
	Kind, Name string
	// How lists where in the workload, such as `env API_KEY of container app`.
	How []string
	// Restart is set if it reads the Secret only when it starts, and so must be restarted after a rotation.
	Restart bool
}

// Consumers returns the pods and workloads of a namespace that read a Secret. A pod or workload that another of them
// controls is left out. Kinds that the user may not list are left out too; the error joins theirs.
func (c *Client) Consumers(ctx context.Context, namespace, secret string) ([]Consumer, error) {
	var consumers []Consumer
	var failed error
	for _, w := range workloads {
		list := w.list()
		if err := c.list(ctx, list, namespace); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%ss can't be looked at: %w", w.name, err))
			continue
		}
		w.each(list, func(meta *metav1.ObjectMeta, spec *corev1.PodSpec) {
			if controlled(meta) {
				return
			}
			if how, restart := Reads(spec, secret); len(how) > 0 {
				consumers = append(consumers, Consumer{Kind: w.name, Name: meta.Name, How: how, Restart: restart})
			}
		})
	}
	return consumers, failed
}

// list lists a kind.
func (c *Client) list(ctx context.Context, list client.ObjectList, namespace string) error {
	return c.api.List(ctx, list, client.InNamespace(namespace))
}

// controlled reports whether an object of one of the listed kinds controls this one.
func controlled(meta *metav1.ObjectMeta) bool {
	owner := metav1.GetControllerOfNoCopy(meta)
	return owner != nil && slices.ContainsFunc(workloads, func(w workload) bool { return w.name == owner.Kind })
}

// workload is a kind that has pods.
type workload struct {
	name string
	list func() client.ObjectList
	each func(list client.ObjectList, do func(*metav1.ObjectMeta, *corev1.PodSpec))
}

// workloads are the kinds that Consumers lists.
var workloads = []workload{
	workloadKind("Deployment", func(l *appsv1.DeploymentList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec.Template.Spec)
		}
	}),
	workloadKind("StatefulSet", func(l *appsv1.StatefulSetList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec.Template.Spec)
		}
	}),
	workloadKind("DaemonSet", func(l *appsv1.DaemonSetList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec.Template.Spec)
		}
	}),
	workloadKind("ReplicaSet", func(l *appsv1.ReplicaSetList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec.Template.Spec)
		}
	}),
	workloadKind("CronJob", func(l *batchv1.CronJobList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec.JobTemplate.Spec.Template.Spec)
		}
	}),
	workloadKind("Job", func(l *batchv1.JobList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec.Template.Spec)
		}
	}),
	workloadKind("Pod", func(l *corev1.PodList, do pods) {
		for i := range l.Items {
			do(&l.Items[i].ObjectMeta, &l.Items[i].Spec)
		}
	}),
}

// pods is called with each object of a kind and its pods' specification.
type pods = func(*metav1.ObjectMeta, *corev1.PodSpec)

// workloadKind returns the workload of a kind, with a function that calls another for each object of a list.
func workloadKind[L any, P interface {
	*L
	client.ObjectList
}](name string, each func(P, pods)) workload {
	return workload{
		name: name,
		list: func() client.ObjectList { return P(new(L)) },
		each: func(list client.ObjectList, do func(*metav1.ObjectMeta, *corev1.PodSpec)) {
			if typed, ok := list.(P); ok {
				each(typed, do)
			}
		},
	}
}

// Reads returns how a pod reads a Secret, and whether it reads it only when it starts.
func Reads(spec *corev1.PodSpec, secret string) (how []string, restart bool) {
	volumes := map[string]bool{}
	for i := range spec.Volumes {
		if mounts(&spec.Volumes[i], secret) {
			volumes[spec.Volumes[i].Name] = true
		}
	}
	containers := slices.Concat(spec.InitContainers, spec.Containers)
	for i := range spec.EphemeralContainers {
		containers = append(containers, corev1.Container(spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	for i := range containers {
		environment := inEnvironment(&containers[i], secret)
		files, fixed := inFiles(&containers[i], volumes)
		how = append(append(how, environment...), files...)
		restart = restart || len(environment) > 0 || fixed
	}
	return how, restart
}

// inEnvironment returns the variables of a container that come from a Secret.
func inEnvironment(container *corev1.Container, secret string) (how []string) {
	for _, variable := range container.Env {
		if source := variable.ValueFrom; source != nil && source.SecretKeyRef != nil && source.SecretKeyRef.Name == secret {
			how = append(how, fmt.Sprintf("env %s of container %s", variable.Name, container.Name))
		}
	}
	for _, source := range container.EnvFrom {
		if source.SecretRef != nil && source.SecretRef.Name == secret {
			how = append(how, "envFrom of container "+container.Name)
		}
	}
	return how
}

// inFiles returns where a container mounts any of the volumes, and whether one of those mounts never changes while it
// runs.
func inFiles(container *corev1.Container, volumes map[string]bool) (how []string, fixed bool) {
	for _, mount := range container.VolumeMounts {
		if volumes[mount.Name] {
			how = append(how, fmt.Sprintf("files at %s of container %s", mount.MountPath, container.Name))
			fixed = fixed || mount.SubPath != "" || mount.SubPathExpr != ""
		}
	}
	return how, fixed
}

// mounts reports whether a volume has the content of a Secret.
func mounts(volume *corev1.Volume, secret string) bool {
	if volume.Secret != nil && volume.Secret.SecretName == secret {
		return true
	}
	return volume.Projected != nil && slices.ContainsFunc(volume.Projected.Sources, func(p corev1.VolumeProjection) bool {
		return p.Secret != nil && p.Secret.Name == secret
	})
}
