// From tables to a report: a fit of each formula, their comparison, and a diagnosis of the best.
//
//     nextflow run main.nf                    all of it, on this machine
//     nextflow run main.nf -profile slurm -resume
//
// plncli ends with 0 only where a fit converged, so a fit that did not stops the workflow (exit code 4).

process SAMPLE_DATA {
    input:
    val name

    output:
    path 'data/counts.csv', emit: counts
    path 'data/covariates.csv', emit: covariates
    path 'data/exposure.csv', emit: exposure

    script:
    """
    plncli sample-data ${name} --out data
    """
}

process FIT {
    tag "${name}"
    publishDir "${params.out}/fits", mode: 'copy'

    input:
    tuple val(name), val(formula)
    path counts
    path covariates
    path exposure

    output:
    path "${name}"

    script:
    """
    plncli fit pln --counts ${counts} --covariates ${covariates} --exposure ${exposure} \
        --formula '${formula}' ${params.options} --threads ${task.cpus} --out ${name}
    """
}

process COMPARE {
    publishDir params.out, mode: 'copy'

    input:
    path fits

    output:
    path 'comparison.csv'
    path 'comparison.json', emit: json

    script:
    """
    plncli compare ${fits} --out comparison.csv --json > comparison.json
    """
}

process DIAGNOSE {
    publishDir params.out, mode: 'copy'

    input:
    val best
    path fits
    path counts
    path covariates
    path exposure

    output:
    path 'diagnosis.json'

    script:
    """
    plncli diagnose ${best} --counts ${counts} --covariates ${covariates} --exposure ${exposure} \
        --json > diagnosis.json
    """
}

process REPORT {
    publishDir params.out, mode: 'copy'

    input:
    path fits
    path counts
    path covariates
    path exposure

    output:
    path 'report.html'

    script:
    """
    plncli report ${fits} --counts ${counts} --covariates ${covariates} --exposure ${exposure} \
        --out report.html --quiet
    """
}

workflow {
    if (params.counts) {
        counts = channel.value(file(params.counts, checkIfExists: true))
        covariates = channel.value(file(params.covariates, checkIfExists: true))
        exposure = channel.value(file(params.exposure, checkIfExists: true))
    } else {
        made = SAMPLE_DATA(params.sample_data)
        counts = made.counts
        covariates = made.covariates
        exposure = made.exposure
    }
    fits = FIT(channel.fromList(params.fits.collect { name, formula -> tuple(name, formula) }), counts, covariates, exposure)
    all = fits.collect()
    compared = COMPARE(all)
    best = compared.json.map { json -> new groovy.json.JsonSlurper().parse(json.toFile()).rows.min { row -> row.bic }.run }
    DIAGNOSE(best, all, counts, covariates, exposure)
    REPORT(all, counts, covariates, exposure)
}
