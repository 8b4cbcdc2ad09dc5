# L0 of top-AFA over λ (losses.afa.coeff)
# Made by quasar; `gnuplot afa.gp` draws afa.tsv into afa.svg.
set encoding utf8
set terminal svg size 480,367 dynamic font 'sans-serif,14' enhanced
set output 'afa.svg'
set border linecolor rgb 'black'
set grid linecolor rgb '#888888' linewidth 0.5 dashtype 3
set tics nomirror
set key noenhanced samplen 1.5 spacing 1.1
set xlabel 'λ (losses.afa.coeff)' noenhanced offset 0,0.4
set ylabel 'L0' noenhanced
set logscale x
set xtics (0.04, 0.06, 0.08, 0.1, 0.12)
set format x '%g'
set xrange [0.0295643:0.132127]
set yrange [39.2:60.8]
set key outside below center horizontal maxcols 1 Left reverse height 0.6
plot 'afa.tsv' index 0 using 1:3:(0):($4-$3) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#0072b2' notitle, \
     'afa.tsv' index 0 using 1:2 with linespoints pt 7 ps 0.8 lw 1.5 dt 1 lc rgb '#0072b2' title 'topafa' noenhanced
