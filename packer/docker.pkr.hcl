# The rehearsal of a machine: a container that boots systemd. Never privileged.
source "docker" "machine" {
  image  = var.base_image
  pull   = false
  commit = true

  # Packer mounts a folder of its own there. An empty folder of every distribution: a path that does
  # not exist would stay behind in the image.
  container_dir = "/mnt"

  run_command = concat(
    [
      "--detach", "--name", local.container,
      "--label", "org.bakehouse.owner=${var.owner}",
      "--cap-add", "SYS_ADMIN",
      "--volume", var.cgroup_mount,
      "--tmpfs", "/run", "--tmpfs", "/run/lock",
    ],
    local.volumes,
    ["--", "{{ .Image }}"],
  )

  changes = concat(
    ["CMD [\"/lib/systemd/systemd\"]"],
    # The owner is the bake's; what is started from the image has another or none.
    ["LABEL org.bakehouse.owner=\"\""],
    [for name, value in var.labels : "LABEL ${name}=\"${value}\""],
  )
}
