locals {
  root      = abspath("${path.root}/..")
  container = var.container != "" ? var.container : "bakehouse-${var.image}-${uuidv4()}"
  manifest  = var.manifest != "" ? var.manifest : "${local.root}/out/${var.image}/packer-manifest.json"

  stack_file = "${local.root}/stacks/${var.stack}.yml"
  records    = yamldecode(file(local.stack_file))
  versions   = { for name, record in local.records : name => record.version if can(record.version) }

  # What the image says about itself; `bakehouse build` gives more in var.variables_file.
  identity = {
    image_info_image          = var.image
    image_info_build          = "packer"
    image_info_commit         = "unknown"
    image_info_stack_name     = var.stack
    image_info_stack_digest   = sha256(file(local.stack_file))
    image_info_stack_versions = local.versions
  }

  # Verified wheels: the given folder, or the one that `bakehouse build` has filled for this stack.
  stack_wheels = "${local.root}/.bakehouse/wheelhouse/${var.stack}"
  wheelhouse   = var.wheelhouse != "" ? var.wheelhouse : fileexists("${local.stack_wheels}/.complete") ? local.stack_wheels : ""

  # Mounted below /run, which is in memory: nothing of it can stay in the image.
  mounts = {
    "/run/bakehouse/wheels" = local.wheelhouse
    "/run/bakehouse/host"   = var.host_configuration
  }
  volumes = flatten([for path, folder in local.mounts : ["--volume", "${folder}:${path}:ro"] if folder != ""])

  # How Ansible reaches the machine, by type of source; Packer's SSH proxy offers keys that a present
  # OpenSSH refuses, so containers are reached through docker.
  connections = {
    docker = {
      ansible_connection = "docker"
      ansible_host       = local.container
      ansible_user       = "root"
    }
  }

  # The environment of a bake is given to the interpreter, so that none of it can stay in the image.
  environment = length(var.environment) > 0 ? concat(["/usr/bin/env"], [for name, value in var.environment : "${name}=${value}"]) : []

  variables = merge(local.identity, {
    ansible_python_interpreter = join(" ", concat(local.environment, ["/usr/bin/python3"]))
    bakehouse_target           = "machine"
    bakehouse_wheelhouse       = local.wheelhouse != "" ? "/run/bakehouse/wheels" : ""
  })

  more_variables = var.variables_file != "" ? ["--extra-vars", "@${var.variables_file}"] : []
}
