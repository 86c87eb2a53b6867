#!/usr/bin/env bash
# The whole way in one command: environment, data, training, evaluation, pictures.
set -euo pipefail
started_in=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'TEXT'
./run.sh                      phantom films, a small ResNet, evaluation, pictures: minutes on a laptop
./run.sh --data DIR           the same with the unpacked Kaggle download in DIR
    [--person_csv FILE]       persons of the films; by default the one *mapping*.csv or .json in DIR, if any
    [--config FILE]           default configs/resnet.py
./run.sh test [ARGS...]       the tests; ARGS go to pytest
TEXT
}

say() { printf '\n== %s\n' "$*"; }
absolute() { case $1 in /*) echo "$1" ;; *) echo "$started_in/$1" ;; esac; }
die() { printf 'ERROR: %s\n' "$*" >&2; exit 2; }

# Python 3.11 to 3.13: $PYTHON, else the first that is there.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.13}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
      2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  die "Python 3.11, 3.12 or 3.13 is needed: install one, or name it: PYTHON=/path/to/python ./run.sh"
}

# Makes .venv, anew only when setup.py or the constraints have changed since.
set_up_environment() {
  local python version constraints stamp
  python=$(find_python)
  version=$("$python" -c 'import sys; print("%d%d" % sys.version_info[:2])')
  constraints=constraints/py$version.txt
  stamp=$(cat setup.py "$constraints" | cksum)
  if [ "$(cat .venv/installed 2>/dev/null)" != "$stamp" ]; then
    say "Setting up .venv with Python ${version:0:1}.${version:1} (once; some minutes)"
    rm -rf .venv
    "$python" -m venv .venv || die "no virtual environment could be made: on Debian and Ubuntu, apt install python3-venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c "$constraints" -e '.[test]'
    echo "$stamp" > .venv/installed
  fi
  PATH="$PWD/.venv/bin:$PATH"
  # Evaluation and prediction start faster with what training compiled.
  export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$PWD/.venv/jax-cache}
}

# The one mapping table of a download, nothing where there is none.
find_person_csv() {
  local tables
  tables=$(find "$1" -maxdepth 1 -name '*mapping*.csv' -o -maxdepth 1 -name '*mapping*.json')
  case $tables in
    *$'\n'*) die "several mapping tables in $1: name one by --person_csv" ;;
    *) echo "$tables" ;;
  esac
}

# SOURCE DOWNLOAD PERSON_CSV OUT IMAGE_SIZE CONFIG: from films to figures and pictures.
run_all() {
  local source=$1 download=$2 person_csv=$3 out=$4 image_size=$5 config=$6
  local workdir
  workdir=$out/$(basename "$config" .py)
  if [ ! -d "$out/exploration" ]; then
    say "Looking at $download"
    # It exits with 1 where a film cannot be used; the conversion says what to do.
    python data_prep/explore.py --source="$source" --download="$download" \
      ${person_csv:+--person_csv="$person_csv"} --output_dir="$out/exploration" || [ $? = 1 ]
  fi
  if [ ! -d "$out/shards" ]; then
    say "Converting $download"
    python data_prep/convert.py --source="$source" --images_dir="$download/stage_2_train_images" \
      --labels_csv="$download/stage_2_train_labels.csv" \
      --class_info_csv="$download/stage_2_detailed_class_info.csv" \
      ${person_csv:+--person_csv="$person_csv"} \
      --output_dir="$out/shards" --image_size="$image_size" --num_shards=4
  fi
  say "Training ($config)"
  python -m pneumo_jax.main --config="$config" --workdir="$workdir" --config.data.dir="$out/shards"
  say "Evaluating on the test split"
  python -m pneumo_jax.evaluate --workdir="$workdir" --split=test
  say "Drawing predictions"
  local films=() film
  while read -r film; do
    films+=("$download/stage_2_train_images/$film.dcm")
  done < <(tail -n +2 "$workdir/films-test.csv" | head -n 48 | cut -d, -f1)
  python -m pneumo_jax.predict --workdir="$workdir" --output_dir="$workdir/predictions" --overwrite \
    --labels_csv="$download/stage_2_train_labels.csv" \
    "${films[@]}"
  say "Reporting"
  python -m pneumo_jax.report "$workdir" > /dev/null
  say "Done. Research software, not a medical device."
  printf '%s\n' "The data in pictures: $PWD/$out/exploration/explore.html" "In $PWD/$workdir:" \
    "  report    report.html: the run on one page, with a model card" \
    "  pictures  predictions/contact_sheet.png and predictions/overlays/ (truth red, prediction blue)" \
    "  figures   evaluation-test.html to read, results.json, per film films-test.csv" \
    "  curves    metrics.jsonl, or TensorBoard on tensorboard/" \
    "To leaf through the films: .venv/bin/python -m pneumo_jax.view $workdir"
}

run_demo() {
  local out=runs/demo
  if [ ! -d "$out/download" ]; then
    say "Making 600 phantom films"
    mkdir -p "$out"
    python data_prep/make_demo.py --output_dir="$out/download" --num_films=600 --seed=0
  fi
  run_all phantom "$out/download" "$out/download/phantom_person_mapping.csv" "$out" 128 configs/smoke.py
}

run_data() {
  local download='' person_csv='' config=configs/resnet.py
  while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || die "$1 needs a value"
    case $1 in
      --data) download=$(absolute "${2%/}") ;;
      --person_csv) person_csv=$(absolute "$2") ;;
      --config) config=$2 ;;
      *) usage >&2; die "unknown argument $1" ;;
    esac
    shift 2
  done
  local name
  for name in stage_2_train_images stage_2_train_labels.csv stage_2_detailed_class_info.csv; do
    [ -e "$download/$name" ] || die "no $name in $download: give the unpacked Kaggle download"
  done
  [ -n "$person_csv" ] || person_csv=$(find_person_csv "$download")
  local out
  # Another folder of the same name, or other persons, must not find this one's shards.
  out=runs/$(basename "$download")-$(printf '%s' "$download $person_csv" | cksum | cut -d' ' -f1)
  mkdir -p "$out"
  run_all rsna "$download" "$person_csv" "$out" 256 "$config"
}

case ${1:-} in
  '') set_up_environment; run_demo ;;
  test) shift; set_up_environment; python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal "$@" ;;
  --data | --person_csv | --config) set_up_environment; run_data "$@" ;;
  -h | --help) usage ;;
  *) usage >&2; die "unknown argument $1" ;;
esac
