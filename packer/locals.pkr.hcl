locals {
  root = "${path.root}/.."

  ansible_arguments = [
    "--extra-vars", "@${local.root}/stacks/${var.stack}.yml",
    "--extra-vars", "@${var.variables_file}",
    "--extra-vars", "bakehouse_target=machine bakehouse_wheelhouse=/srv",
    "--extra-vars", "ansible_connection=docker ansible_host=${var.container} ansible_user=root",
    "--extra-vars", "ansible_python_interpreter=/usr/bin/python3",
  ]

  label_changes = [for name, value in var.labels : "LABEL ${name}=${value}"]
}
