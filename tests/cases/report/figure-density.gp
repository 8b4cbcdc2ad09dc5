# How often latents fire
# Made by quasar; `gnuplot density.gp` draws density.tsv into density.svg.
set encoding utf8
set terminal svg size 480,375 dynamic font 'sans-serif,14' enhanced
set output 'density.svg'
set border linecolor rgb 'black'
set grid linecolor rgb '#888888' linewidth 0.5 dashtype 3
set tics nomirror
set key noenhanced samplen 1.5 spacing 1.1
set xlabel 'log10 of the firing frequency' noenhanced offset 0,0.4
set xrange [-7.53:-6.72]
set ylabel 'percent' noenhanced
set yrange [-2.4:62.4]
set key outside below center horizontal maxcols 2 Left reverse height 0.6
plot 'density.tsv' index 0 using 1:2 with lines lw 1.4 lc rgb '#009e73' title 'topk k=8' noenhanced
