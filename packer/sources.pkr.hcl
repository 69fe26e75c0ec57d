# The rehearsal of a machine: a container that boots systemd. Never privileged.
source "docker" "machine" {
  image  = var.base_image
  pull   = false
  commit = true

  run_command = [
    "--detach", "--name", var.container,
    "--label", "org.bakehouse.owner=${var.owner}",
    "--cap-add", "SYS_ADMIN",
    "--volume", var.cgroup_mount,
    "--volume", "${var.wheelhouse}:/srv:ro",
    "--tmpfs", "/run", "--tmpfs", "/run/lock",
    "--", "{{ .Image }}",
  ]

  changes = concat(["CMD [\"/lib/systemd/systemd\"]"], local.label_changes)
}
